"""What a net in C costs: bytes of flash and RAM, operations, and about how many cycles on three kinds of chips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demitasse.export.c_source.layout import result_rows, sums_of
from demitasse.export.c_source.net import COperation, WeightedSum
from demitasse.export.c_source.text.source import WrittenLayer, WrittenNet
from demitasse.text_table import Column, TextTable, printable


@dataclass(frozen=True)
class ChipCosts:
    """Cycles on a chip.

    Attributes:
        name: of the chip.
        add: to add one shifted value to a sum.
        weight: to find the next weight, beside its bits.
        bit: to read a bit of a stream.
        decision: to take a decision of the form ``adaptive``.
        result: to make a result of a sum.
    """

    name: str
    add: float
    weight: float
    bit: float
    decision: float
    result: float


# fitted to simulations of the LeNets on Cortex-M0 and of LeNet-300-100 on AVR; those of Cortex-M4 are guessed
CHIPS = (
    ChipCosts("Cortex-M0", add=10, weight=62, bit=14, decision=38, result=25),
    ChipCosts("Cortex-M4", add=7, weight=45, bit=10, decision=28, result=18),
    ChipCosts("AVR", add=40, weight=220, bit=30, decision=233, result=80),
)
_COLUMNS = (
    Column("layer", left=True),
    Column("weights"),
    Column("of", 2),
    Column("stream", 1, left=True),
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
        flash: bytes of constant tables.
        additions: of shifted values to sums.
        cycles: for each of :data:`CHIPS`.
    """

    name: str
    kept: int
    total: int
    form: str
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
        kept, total, added = (
            sum(getattr(each, name) for each in self.layers) for name in ("kept", "total", "additions")
        )
        together = _cells(LayerCost("together", kept, total, "", self.flash, added, cycles))
        title = f"{self.name}: {self.flash:,} bytes of tables in flash, {self.ram:,} bytes of RAM"
        notes = ("the code itself comes on top, about 200 to 600 bytes a layer; cycles are estimates",)
        return TextTable(title, _COLUMNS, [_cells(layer) for layer in self.layers], [together], notes=notes)

    def __str__(self) -> str:
        return printable(self.table())


def cost_report(made: WrittenNet) -> CostReport:
    """Returns the costs of a net that was written."""
    layers = tuple(_cost(made, index, layer) for index, layer in enumerate(made.layers))
    return CostReport(made.name, made.layout.size, layers)


def _cost(made: WrittenNet, index: int, layer: WrittenLayer) -> LayerCost:
    operation = layer.operation
    results = made.net.tensors[operation.output].size
    if not isinstance(operation, WeightedSum) or layer.stream is None:
        added = results * _taken(operation)
        return _layer_cost(layer, 0, 0, added, 0, results)
    kept, passes, places = int(np.count_nonzero(operation.weight)), 1.0, 1.0
    if operation.windows:
        band, rows = made.layout.bands[index], result_rows(operation)
        passes = -(-rows // band)
        places = passes * sums_of(operation, band)
        results = len(operation.weight) * int(places)
    return _layer_cost(layer, kept, operation.weight.size, int(kept * places), passes, results)


def _taken(operation: COperation) -> int:
    pooling = getattr(operation, "pooling", None)
    return pooling.windows.kernel[0] * pooling.windows.kernel[1] if pooling else len(operation.inputs)


def _layer_cost(layer: WrittenLayer, kept: int, total: int, added: int, passes: float, results: int) -> LayerCost:
    """Returns the costs of a layer that reads its weights in some passes."""
    form, bits, decisions = "", 0, 0
    if layer.stream:
        form = layer.stream.form
        bits = 8 * len(layer.stream.content) if form == "bits" else 0
        decisions = total + (1 + layer.stream.width) * kept if form == "adaptive" else 0
    cycles = tuple(
        int(
            chip.add * added
            + (chip.weight * kept + chip.bit * bits + chip.decision * decisions) * passes
            + chip.result * results
        )
        for chip in CHIPS
    )
    return LayerCost(layer.operation.name, kept, total, form, layer.flash, added, cycles)


def _cells(layer: LayerCost) -> tuple[str, ...]:
    weights = (f"{layer.kept:,}", f"{layer.total:,}") if layer.total else ("", "")
    return (
        layer.name, *weights, layer.form, f"{layer.flash:,}", f"{layer.additions:,}",
        *(f"{each:,}" for each in layer.cycles),
    )  # fmt: skip
