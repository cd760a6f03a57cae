"""The grid of the formats of powers of two: 0 and plus or minus 2^e for seven exponents e."""

from __future__ import annotations

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import WeightsError

EXPONENTS = 7


def split(values: Array, place: str) -> tuple[Array, int]:
    """Finds the exponents of quantized values.

    Args:
        values: (n,) float32, nonzero, n > 0.
        place: layer and blob, for messages.

    Returns:
        The step of each value, (n,) uint8 in 0..6 with ``abs(value) == 2 ** (smallest + step)``; and the
        smallest exponent of the grid, which is six less than that of the largest value.

    Raises:
        WeightsError: a value is not on the grid; gives the value and the grid.
    """
    mantissas, exponents = np.frexp(np.abs(values))
    largest = int(exponents.max()) - 1
    smallest = largest - EXPONENTS + 1
    wrong = (mantissas != 0.5) | (exponents - 1 < smallest)
    if wrong.any():
        raise WeightsError(
            f"{place}: {np.count_nonzero(wrong)} of {len(values)} values are not quantized; the first is "
            f"{values[np.argmax(wrong)]:.9g}; expected 0 or +-2^e with e from {smallest} to {largest}"
        )
    return (exponents - 1 - smallest).astype(np.uint8), smallest


def powers(smallest: int) -> Array:
    """Returns 2^smallest, 2^(smallest + 1), ...: (7,) float32."""
    return np.ldexp(np.float32(1), np.arange(smallest, smallest + EXPONENTS)).astype(np.float32)
