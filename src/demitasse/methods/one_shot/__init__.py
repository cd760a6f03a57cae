"""Compression without training: pure functions on the weights of a layer and the second moments of its inputs.

All functions work on stacks of matrices, (groups, rows, columns): a row for each output, a column for each input, and a
group for each group of a convolution. ``demitasse.shrink`` applies them to modules.
"""
