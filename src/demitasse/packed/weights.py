"""Reads the weights of a file: large sparse matrices as such, everything else as arrays."""

from __future__ import annotations

import math

import numpy as np

from demitasse.arrays import Array
from demitasse.packed.codecs import CODECS
from demitasse.packed.file import File
from demitasse.packed.header import TensorEntry, blank
from demitasse.packed.palettes.scaled import ScaledRows
from demitasse.packed.reader import ByteReader
from demitasse.packed.rows import RowsBuilder
from demitasse.packed.sparse import NO_FACTOR
from demitasse.packed.tensor import Tensor, matrix
from demitasse.packed.weight import PackedWeight

Held = Array | PackedWeight

# of the bytes of an array, the most that entries of sparse rows may take
_MOST = 0.75
# the values of a tensor that is packed whatever it takes, since that is little
_FEW = 1 << 16


def weights_of(file: File) -> dict[str, Held]:
    """Returns name -> tensor of a file: packed weights of sparse float32 matrices, arrays of all others.

    A matrix that the file holds in parts is never there as an array: each part is packed before the next is decoded.

    Raises:
        FileFormatError: a payload is corrupt.
    """
    found: dict[str, Held] = {}
    builders: dict[str, _Builder] = {}
    for entry, part in file.pieces():
        builder = builders.setdefault(entry.name, _Builder(entry))
        builder.append(part)
        del part  # before the next one is decoded
        if builder.left == 0:
            found[entry.name] = builders.pop(entry.name).finish()
    for alias, name in file.header.aliases.items():
        found[alias] = found[name]
    return found


class _Builder:
    """Makes one tensor of its parts; the first one decides whether it is packed."""

    def __init__(self, entry: TensorEntry) -> None:
        self._entry = entry
        self._size = self.left = math.prod(entry.shape)
        self._rows: RowsBuilder | None = None
        self._scaled = self._palette()
        self._bits: Array = np.zeros(0, entry.dtype.bits)

    def append(self, part: Tensor) -> None:
        """Appends the next part."""
        start = self._size - self.left
        self.left -= part.size
        if start == 0:
            self._rows = self._packed(part)
            if self._rows is None:
                self._bits = part.bits if self.left == 0 else np.empty(self._size, part.bits.dtype)
        elif self._rows:
            self._rows.append(self._units(part))
        if self._rows is None:
            self._bits[start : start + part.size] = part.bits

    def finish(self) -> Held:
        """Returns the tensor."""
        entry = self._entry
        if self._rows:
            return PackedWeight.of_rows(entry.shape, self._rows.finish(), self._factor())
        return Tensor(entry.name, entry.dtype, entry.shape, self._bits).array()

    def _palette(self) -> ScaledRows | None:
        """Returns the palette of a tensor whose rows have scales: as factors, these let few codes do for all rows."""
        entry = self._entry
        found = CODECS[entry.codec].palette(blank(entry), ByteReader(entry.settings))
        return found if isinstance(found, ScaledRows) and found.axis == 0 else None

    def _units(self, part: Tensor) -> Array:
        """Returns the bits of values, in units of the scales of their rows."""
        return part.bits if self._scaled is None else self._scaled.divided(part).astype(np.float32).view(np.uint32)

    def _factor(self) -> Array:
        return NO_FACTOR if self._scaled is None else self._scaled.scales(self._entry.dtype).astype(np.float32)

    def _packed(self, part: Tensor) -> RowsBuilder | None:
        """Returns rows that begin with these values; None for a tensor that should not be packed."""
        entry = self._entry
        if entry.dtype.name != "float32" or len(entry.shape) < 2 or not 0 < self._size < 1 << 31:
            return None
        made = RowsBuilder(*matrix(entry.shape))
        made.append(self._units(part))
        return made if self._size <= _FEW or made.nbytes <= _MOST * part.bits.nbytes else None
