"""Measures how many bytes of a .demi file each tensor takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from demitasse.packed.codecs import CODECS
from demitasse.packed.file import File
from demitasse.packed.header import TensorEntry
from demitasse.packed.tensor import Bits

_FLOAT32 = 4
# the entropy is compared only if each value occurs this often on average; otherwise listing the values costs more
_OFTEN = 8


@dataclass(frozen=True)
class TensorRow:
    """A tensor of a file.

    Attributes:
        name: name of the tensor.
        dtype: type of its values.
        shape: shape of the tensor.
        codec: name of the codec.
        count: number of values.
        present: number of nonzero values.
        distinct: number of distinct nonzero values.
        positions: bytes that say which values are zero.
        values: bytes that give the nonzero values.
        entropy: bytes that both would take if values were independent: count times the binary entropy of
            present / count, plus present times the entropy of the nonzero values by their frequencies.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    codec: str
    count: int
    present: int
    distinct: int
    positions: float
    values: float
    entropy: float

    @property
    def bytes(self) -> float:
        """Bytes of the tensor in the payloads."""
        return self.positions + self.values

    @property
    def against_entropy(self) -> float | None:
        """The ratio of bytes to entropy; None if values hardly repeat, or if the entropy is 0."""
        return self.bytes / self.entropy if self.entropy and _OFTEN * self.distinct <= self.present else None


@dataclass(frozen=True)
class Inspection:
    """A .demi file.

    Attributes:
        name: name of the file.
        size: size in bytes.
        header: size of the header in bytes.
        rows: one row for each tensor.
        metadata: key -> text.
        aliases: other name of a tensor -> its name.
    """

    name: str
    size: int
    header: int
    rows: Sequence[TensorRow]
    metadata: Mapping[str, str]
    aliases: Mapping[str, str]

    @property
    def count(self) -> int:
        """Number of values in the file."""
        return sum(row.count for row in self.rows)

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than its values as float32."""
        return _FLOAT32 * self.count / self.size

    def as_plain(self) -> dict[str, object]:
        """Returns a dictionary of plain values, for JSON."""
        rows = [{**asdict(row), "bytes": row.bytes, "against_entropy": row.against_entropy} for row in self.rows]
        return {**asdict(self), "rows": rows, "count": self.count, "ratio": self.ratio}


def inspect(path: str | Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Inspection:
    """Decodes a .demi file and measures the bytes of each tensor.

    Args:
        path: the file.
        progress: called with (values counted so far, all values).

    Raises:
        FileFormatError: the file is missing, cut short or corrupt.
    """
    with File(path) as file:
        header = file.header
        total, rows = sum(math.prod(entry.shape) for entry in header.entries), []
        progress(0, total)
        for entry, (tensor, positions, values) in zip(header.entries, file.measured(), strict=True):
            rows.append(_row(entry, tensor.bits, positions, values))
            progress(sum(row.count for row in rows), total)
    size = Path(path).stat().st_size
    payloads = sum(payload.length for payload in header.payloads)
    return Inspection(str(path), size, size - payloads, rows, header.metadata, header.aliases)


def _row(entry: TensorEntry, bits: Bits, positions: float, values: float) -> TensorRow:
    present = bits[bits != 0]
    _, counts = np.unique(present, return_counts=True)
    entropy = _entropy(np.array([len(bits) - len(present), len(present)])) + _entropy(counts)
    codec = type(CODECS[entry.codec]).__name__.lower()
    return TensorRow(
        entry.name,
        entry.dtype.name,
        entry.dtype.shown(entry.shape),
        codec,
        len(bits),
        len(present),
        len(counts),
        positions,
        values,
        entropy,
    )


def _entropy(counts: Bits) -> float:
    """Returns the entropy of symbols with these counts, in bytes for all of them together."""
    counts = counts[counts > 0]
    return float(counts @ np.log2(counts.sum() / counts)) / 8 if len(counts) else 0.0
