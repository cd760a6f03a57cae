"""Built-in models, data sets, and recipes that train and compress a model on a data set."""
