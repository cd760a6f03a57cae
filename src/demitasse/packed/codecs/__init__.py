"""The ways in which a tensor's values are coded, one a file."""

from demitasse.packed.codecs import numbers, weights, zeros
from demitasse.packed.codecs.base import CODECS, Codec, Context

__all__ = ["CODECS", "Codec", "Context"]

_ALL = (zeros, numbers, weights)
