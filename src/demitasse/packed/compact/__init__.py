"""The older compact formats, one a file: powers of two ("4/4", "4/8", "squeezenet"), "sparse" floats.

All integers and floats are little-endian. Each format stores a net layer by layer, and a layer as its weight followed
by its bias, if it has one.
"""

from demitasse.arrays import Array
from demitasse.packed.compact import deep_compression, pow2, sparse, squeezenet
from demitasse.packed.compact.base import CODECS, CompactCodec, Shape, decode, encode

__all__ = ["CODECS", "Array", "CompactCodec", "Shape", "decode", "deep_compression", "encode"]

_FORMATS = (pow2, sparse, squeezenet)
