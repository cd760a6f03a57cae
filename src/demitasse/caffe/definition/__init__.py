"""A net's definition before the net is built: the layers that take part, their types and their labels."""
