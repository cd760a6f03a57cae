"""Built-in models, data sets, and recipes that compress the one on the other."""
