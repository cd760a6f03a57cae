"""Images: files into arrays and back, lists of them, and what is done to them on the way to a net."""
