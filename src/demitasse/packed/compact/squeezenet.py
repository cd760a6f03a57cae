"""Dense powers of two ("squeezenet"): a 4-bit code for every value, zeros included, in 16-bit words.

A blob is: int8 smallest exponent; int32 n; uint16 words of 4-bit codes, the first in the lowest bits. Codes 0..6
are ``-2^min ..``, 7 is 0, 8..14 are ``2^min ..``. A word holds three codes for weights of layers that are named for
3x3 windows, and four for all other blobs.
"""

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import FileFormatError, WeightsError
from demitasse.packed.compact import grid
from demitasse.packed.compact.base import CODECS, BlobCodec, BlobPlace
from demitasse.packed.reader import ByteReader

_ZERO = grid.EXPONENTS
_UNUSED = 15
_HEADER = [("smallest", "i1"), ("count", "<i4")]
_GREATEST = 121  # 2^(121 + 6) is the greatest power that float32 holds
_SHIFTS = 4 * np.arange(4, dtype=np.uint16)


def codes_per_word(place: BlobPlace) -> int:
    """Returns 3 for the weight of a layer that is named for 3x3 windows (``conv10`` is 1x1), else 4."""
    wide = "3x3" in place.layer or ("conv" in place.layer and place.layer != "conv10")
    return 3 if wide and place.role == "weight" else 4


class SqueezeNetCodec(BlobCodec):
    """The codec "squeezenet"; it cannot hold a blob of zeros, which has no exponent."""

    def _encode_blob(self, values: Array, place: BlobPlace) -> bytes:
        positions = np.flatnonzero(values)
        if not len(positions):
            raise WeightsError(f"{place}: all values are 0, which this format cannot hold; use encode_compact")
        kept = values[positions]
        steps, smallest = grid.split(kept, str(place))
        if smallest < -128:
            raise WeightsError(f"{place}: expected exponents from -128, found {smallest}")
        per_word = codes_per_word(place)
        codes = np.full(-(-len(values) // per_word) * per_word, _ZERO, np.uint16)
        codes[positions] = steps + (_ZERO + 1) * (kept > 0)
        codes[len(values) :] = 0
        words: Array = (codes.reshape(-1, per_word) << _SHIFTS[:per_word]).sum(axis=1).astype("<u2")
        return np.array((smallest, len(values)), _HEADER).tobytes() + words.tobytes()

    def _decode_blob(self, reader: ByteReader, size: int, place: BlobPlace) -> Array:
        at = reader.offset
        smallest = int(reader.array("i1", 1, f"{place}: smallest exponent")[0])
        if smallest > _GREATEST:
            raise FileFormatError(f"byte {at}: {place}: expected an exponent up to {_GREATEST}, found {smallest}")
        count = reader.count(size, str(place))
        if count != size:
            raise FileFormatError(f"byte {at + 1}: {place}: expected {size} entries, found {count}")
        per_word = codes_per_word(place)
        words = reader.array("<u2", -(-size // per_word), f"{place}: codes")
        codes = (words[:, None] >> _SHIFTS[:per_word] & 15).reshape(-1)[:size]
        if (codes == _UNUSED).any():
            raise FileFormatError(f"byte {reader.offset}: {place}: expected codes 0 to 14, found 15")
        powers = grid.powers(smallest)
        values: Array = np.concatenate([-powers, np.zeros(1, np.float32), powers])[codes]
        return values


CODECS.register("squeezenet")(SqueezeNetCodec())
