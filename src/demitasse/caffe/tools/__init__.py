"""Caffe's tools as functions, one per file."""
