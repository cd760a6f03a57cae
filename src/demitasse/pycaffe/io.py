"""Converts arrays to messages and back, and prepares images for nets."""

from __future__ import annotations

from demitasse.pycaffe.arrays import (
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
)
from demitasse.pycaffe.images import load_image, oversample, resize_image
from demitasse.pycaffe.proto import caffe_pb2
from demitasse.pycaffe.transformer import Transformer

# the spelling in Caffe
arraylist_to_blobprotovecor_str = arraylist_to_blobprotovector_str

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovecor_str",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize_image",
]
