"""What a net's definition says before the net is built: which layers take part, their types and their labels."""
