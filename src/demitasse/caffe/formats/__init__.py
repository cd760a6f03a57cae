"""Caffe's nets in files, for :data:`demitasse.packed.formats.FORMATS`; one family of formats a file."""

from demitasse.caffe.formats import caffemodel, compact, deep_compression

__all__ = ["caffemodel", "compact", "deep_compression"]
