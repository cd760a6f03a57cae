"""The mathematics of compression: pure functions on tensors, the same for every front end."""
