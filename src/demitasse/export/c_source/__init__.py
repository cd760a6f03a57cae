"""C for microcontrollers."""
