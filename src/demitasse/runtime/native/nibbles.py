"""Matrices of zeros and powers of two as 4-bit codes.

A code is a sign, its highest bit, and a number m: 0 means the value 0, and 1 to 7 mean consecutive powers of two.

Reference: Zhou, Yao, Guo, Xu, Chen 2017, Incremental Network Quantization (arXiv 1702.03044), section 2.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

# powers of two of a row; codes of a word; rows whose words lie side by side
LEVELS, CODES, ROWS = 7, 8, 4
# code m is 2^(m - BIAS) before it is multiplied by the factor of its row: up to 2^16 inputs cannot overflow before
BIAS = 23
_MANTISSA, _EXPONENT = 0x007FFFFF, 0xFF
# images that are computed at once
MOST = 8


def seconds(weights: int, images: int) -> float:
    """Returns how long an inner product takes: measured with AVX-512, in one thread, with 4096 x 4096 weights."""
    return weights * (0.017e-9 + 0.019e-9 * images)


class Nibbles(NamedTuple):
    """A matrix of codes: an entry is the value of its code, times the factor of its row.

    Attributes:
        codes: (groups of 4 rows, blocks of 8 * lanes columns, 4 rows, lanes) uint32. Bits 4k to 4k + 3 of word i are
            the code of column k * lanes + i of the block. The last group and the last block are filled up with zeros.
        factors: (4 * groups,) float32.
    """

    codes: npt.NDArray[np.uint32]
    factors: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.codes.nbytes + self.factors.nbytes

    def dense(self, rows: int, columns: int) -> npt.NDArray[np.float32]:
        """Returns the matrix, (rows, columns)."""
        shifts = np.arange(0, 4 * CODES, 4, dtype=np.uint32)[:, None]
        codes = (self.codes.transpose(0, 2, 1, 3)[..., None, :] >> shifts) & 15
        found: npt.NDArray[np.float32] = values()[codes.reshape(len(self.factors), -1)] * self.factors[:, None]
        return found[:rows, :columns]


def values() -> npt.NDArray[np.float32]:
    """Returns the value of each code, without the factor of the row."""
    found = np.zeros((2, LEVELS + 1), np.float32)
    found[:, 1:] = np.exp2(np.arange(1, LEVELS + 1) - BIAS)
    found[1] *= -1
    return found.reshape(-1)


def suits(matrix: npt.NDArray[np.float32]) -> bool:
    """Tells whether codes hold a matrix, (rows, columns), exactly.

    The values of a row that are not zero must be +-2^e times a factor of the row, such as that of a batch
    normalization, with at most 7 consecutive exponents e. A matrix with denormal, infinite or NaN values does not suit.
    """
    # the first row alone refuses most matrices
    return matrix.size > 0 and _rows_suit(matrix[:1]) and _rows_suit(matrix)


def _rows_suit(matrix: npt.NDArray[np.float32]) -> bool:
    bits = np.ascontiguousarray(matrix).view(np.uint32)
    kept = matrix != 0
    exponents, mantissas = bits >> 23 & _EXPONENT, bits & _MANTISSA
    least, largest = exponents.min(1, where=kept, initial=_EXPONENT), exponents.max(1, where=kept, initial=0)
    same = mantissas.max(1, where=kept, initial=0) == mantissas.min(1, where=kept, initial=_MANTISSA)
    fits = same & (least > 0) & (largest < _EXPONENT - BIAS) & (largest < least + LEVELS)
    return bool((fits | ~kept.any(1)).all())


def nibbles(matrix: npt.NDArray[np.float32], lanes: int) -> Nibbles:
    """Returns a matrix that :func:`suits` as codes, for vectors of a number of float32 lanes."""
    rows, columns = matrix.shape
    block = CODES * lanes
    groups, blocks = -(-rows // ROWS), -(-columns // block)
    bits = np.ascontiguousarray(matrix).view(np.uint32)
    kept = matrix != 0
    exponents = bits >> 23 & _EXPONENT
    least = exponents.min(1, where=kept, initial=_EXPONENT - 1, keepdims=True)
    whole = np.zeros((groups * ROWS, blocks * block), np.uint8)
    whole[:rows, :columns] = np.where(kept, (exponents - least + 1) | (bits >> 28 & 8), 0)
    words = np.zeros((groups, ROWS, blocks, lanes), np.uint32)
    for k, part in enumerate(np.moveaxis(whole.reshape(groups, ROWS, blocks, CODES, lanes), 3, 0)):
        words |= part.astype(np.uint32) << np.uint32(4 * k)
    factors = np.zeros(groups * ROWS, np.uint32)
    mantissas = np.where(kept, bits & _MANTISSA, 0).max(1)
    factors[:rows] = (least[:, 0] - 1 + BIAS << 23) | mantissas
    factors[:rows][~kept.any(1)] = 0
    return Nibbles(np.ascontiguousarray(words.transpose(0, 2, 1, 3)), factors.view(np.float32))
