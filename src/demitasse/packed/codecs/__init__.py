"""The codecs of a tensor's values, one for each file."""

from collections.abc import Sequence

from demitasse.packed.codecs.base import Codec, Context
from demitasse.packed.codecs.numbers import Numbers
from demitasse.packed.codecs.planes import Planes
from demitasse.packed.codecs.weights import Weights
from demitasse.packed.codecs.zeros import Zeros

__all__ = ["CODECS", "Codec", "Context"]

# the index in this list is the codec's number in a file: only add at the end
CODECS: Sequence[Codec] = (Zeros(), Numbers(), Weights(), Planes())
