"""What a net in C costs: bytes of flash and RAM, operations, and about how many cycles on three kinds of chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from demitasse.export.c_source.layout import result_rows, sums_of
from demitasse.export.c_source.net import COperation, WeightedSum
from demitasse.export.c_source.powers import power_rows
from demitasse.export.c_source.text.source import WrittenLayer, WrittenNet
from demitasse.packed.file import File
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack
from demitasse.text_table import Column, TextTable, printable


@dataclass(frozen=True)
class ChipCosts:
    """Cycles on a chip.

    Attributes:
        name: of the chip.
        add: to add one shifted value to a sum.
        line: to begin a line of sums that a weight is added to, in a convolution.
        weight: to find the next weight, beside its bits.
        bit: to read a bit of a stream.
        decision: to take a decision of the form ``adaptive``.
        result: to make a result of a sum.
    """

    name: str
    add: float
    line: float
    weight: float
    bit: float
    decision: float
    result: float


# fitted to simulations of 15 nets, all within 15 % of them; on the Cortex chips, a cycle is an instruction there
CHIPS = (
    ChipCosts("Cortex-M0", add=8, line=35, weight=34, bit=16, decision=38.9, result=27),
    ChipCosts("Cortex-M4", add=5.8, line=38, weight=34.5, bit=13.3, decision=37.7, result=23.3),
    ChipCosts("AVR", add=32, line=244, weight=92, bit=49, decision=239, result=75),
)
_COLUMNS = (
    Column("layer", left=True),
    Column("weights"),
    Column("of", 2),
    Column("stream", 1, left=True),
    Column("of .demi", 1),
    Column("flash"),
    Column("additions", 1),
    *(Column(f"cycles, {chip.name}", 2 if chip.name == "Cortex-M4" else 0) for chip in CHIPS),
)


@dataclass(frozen=True)
class LayerCost:
    """The costs of a layer.

    Attributes:
        name: of the layer.
        kept: weights that are not zero.
        total: all weights, of channels that were not dropped.
        form: of the stream of weights; empty without weights.
        stream: bytes of the stream.
        packed: bytes that the same weights take in a ``.demi`` file.
        flash: bytes of constant tables.
        additions: of shifted values to sums.
        cycles: for each of :data:`CHIPS`.
    """

    name: str
    kept: int
    total: int
    form: str
    stream: int
    packed: float
    flash: int
    additions: int
    cycles: tuple[int, ...]


@dataclass(frozen=True)
class CostReport:
    """The costs of a net; ``str()`` gives a table.

    Attributes:
        name: of the net in C.
        ram: bytes of the arena, without stack, input and output.
        layers: the layers.
    """

    name: str
    ram: int
    layers: tuple[LayerCost, ...]

    @property
    def flash(self) -> int:
        """Bytes of constant tables; the code comes on top."""
        return sum(layer.flash for layer in self.layers)

    def table(self) -> TextTable:
        """Returns the costs as a table."""
        cycles = tuple(sum(each) for each in zip(*(layer.cycles for layer in self.layers), strict=True))
        kept, total, stream, packed, added = (
            sum(getattr(each, name) for each in self.layers)
            for name in ("kept", "total", "stream", "packed", "additions")
        )
        together = _cells(LayerCost("together", kept, total, "", stream, packed, self.flash, added, cycles))
        title = f"{self.name}: {self.flash:,} bytes of tables in flash, {self.ram:,} bytes of RAM"
        notes = (
            "the code itself comes on top, about 200 to 600 bytes a layer; cycles are estimates",
            "of .demi: the stream of weights, relative to the same weights in a .demi file",
        )
        return TextTable(title, _COLUMNS, [_cells(layer) for layer in self.layers], [together], notes=notes)

    def __str__(self) -> str:
        return printable(self.table())


def cost_report(made: WrittenNet) -> CostReport:
    """Returns the costs of a net that was written."""
    weighted = [layer.operation for layer in made.layers if isinstance(layer.operation, WeightedSum)]
    packed = iter(_packed(weighted))
    layers = tuple(
        _cost(made, index, layer, next(packed) if layer.stream else 0.0) for index, layer in enumerate(made.layers)
    )
    return CostReport(made.name, made.layout.size, layers)


def _packed(operations: Sequence[WeightedSum]) -> list[float]:
    """Returns how many bytes weights take in a .demi file, without factors of rows, which are from normalizations."""
    tensors = []
    for index, operation in enumerate(operations):
        rows = power_rows(operation.weight)
        weight = operation.weight if rows is None else rows.whole * 2.0**rows.exponent
        kernel = operation.windows.kernel if operation.windows else ()
        shaped = weight.reshape(len(weight), -1, *kernel).astype(np.float32)
        tensors.append(of_array(str(index), shaped))
    with File(pack(tensors)) as file:
        return [found.positions + found.values for found in file.measured()]


def _cost(made: WrittenNet, index: int, layer: WrittenLayer, packed: float) -> LayerCost:
    operation = layer.operation
    results = made.net.tensors[operation.output].size
    if not isinstance(operation, WeightedSum) or layer.stream is None:
        added = results * _taken(operation)
        return LayerCost(operation.name, 0, 0, "", 0, 0.0, layer.flash, added, _cycles(added, 0, 0, 0, 0, results))
    kept, passes, lines, places = int(np.count_nonzero(operation.weight)), 1, 0, 1
    if operation.windows:
        band, rows = made.layout.bands[index], result_rows(operation)
        passes = -(-rows // band)
        places = passes * sums_of(operation, band)
        lines = places // operation.windows.sizes[1]
        results = len(operation.weight) * places
    form, stream = layer.stream.form, len(layer.stream.content)
    read = passes * (operation.weight.size if form == "dense" else kept)
    bits = passes * 8 * stream if form == "bits" else 0
    decisions = passes * (operation.weight.size + (1 + layer.stream.width) * kept) if form == "adaptive" else 0
    cycles = _cycles(kept * places, kept * lines, read, bits, decisions, results)
    return LayerCost(
        operation.name, kept, operation.weight.size, form, stream, packed, layer.flash, kept * places, cycles
    )


def _taken(operation: COperation) -> int:
    pooling = getattr(operation, "pooling", None)
    return pooling.windows.kernel[0] * pooling.windows.kernel[1] if pooling else len(operation.inputs)


def _cycles(added: int, lines: int, read: int, bits: int, decisions: int, results: int) -> tuple[int, ...]:
    counts = (added, lines, read, bits, decisions, results)
    return tuple(
        round(sum(cost * count for cost, count in zip(astuple(chip)[1:], counts, strict=True))) for chip in CHIPS
    )


def _cells(layer: LayerCost) -> tuple[str, ...]:
    weights = (f"{layer.kept:,}", f"{layer.total:,}") if layer.total else ("", "")
    ratio = f"{layer.stream / layer.packed:.2f}" if layer.packed else ""
    return (
        layer.name, *weights, layer.form, ratio, f"{layer.flash:,}", f"{layer.additions:,}",
        *(f"{each:,}" for each in layer.cycles),
    )  # fmt: skip
