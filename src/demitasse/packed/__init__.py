"""Weights as bytes: file formats of compressed nets. Knows bytes and numpy arrays, neither torch nor Caffe."""
