"""What a plan computes each layer with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demitasse.errors import UsageError
from demitasse.graph.graph import Step
from demitasse.graph.weights import kept, nbytes, size
from demitasse.runtime.cost import costs, form
from demitasse.text_table import Column, TextTable, printable

if TYPE_CHECKING:
    from demitasse.runtime.plan import Plan

_COLUMNS = (
    Column("layer", left=True),
    Column("operation", 2, left=True),
    Column("kernel", left=True),
    Column("kept"),
    Column("of", 1),
    Column("density", 1),
    Column("bytes", 1),
    Column("expected gain", 2),
)


@dataclass(frozen=True)
class LayerPlan:
    """How one layer is computed.

    Attributes:
        name: of the layer.
        kind: the operation.
        kernel: what it is computed from, ``sparse``, ``dense``, or ``codes`` of 4 bits; ``native`` is a kernel of ours
            for an operation without weights, ``PyTorch`` an operation that has none.
        kept: number of weights that are not zero; 0 for layers without weights.
        total: number of weights.
        nbytes: bytes of the weights in memory.
        gain: how many times as fast as dense operations the layer is expected to be.
    """

    name: str
    kind: str
    kernel: str
    kept: int
    total: int
    nbytes: int
    gain: float


@dataclass(frozen=True)
class PlanReport:
    """All layers of a plan, for one size of batches; ``str()`` gives a table.

    Attributes:
        name: of the net.
        batch: the size.
        layers: one for each step of the graph.
    """

    name: str
    batch: int
    layers: tuple[LayerPlan, ...]

    def table(self) -> TextTable:
        """Returns the layers that have weights as a table."""
        weighted = [layer for layer in self.layers if layer.total]
        kept, total, nbytes = (sum(getattr(each, name) for each in weighted) for name in ("kept", "total", "nbytes"))
        together = ("together", "", "", f"{kept:,}", f"{total:,}", _share(kept, total), f"{nbytes:,}", "")
        title = f"{self.name}, batches of {self.batch}"
        return TextTable(title, _COLUMNS, [_cells(layer) for layer in weighted], [together])

    def __str__(self) -> str:
        return printable(self.table())


def report(plan: Plan, batch: int = 1) -> PlanReport:
    """Returns what a plan computes each layer with, for batches of a size.

    Raises:
        UsageError: ``batch`` is not a positive whole number.
    """
    if not isinstance(batch, int) or batch < 1:
        raise UsageError(f"batch is {batch!r}; expected a positive whole number")
    return PlanReport(plan.graph.name, batch, tuple(_layers(plan, batch)))


def _layers(plan: Plan, batch: int) -> Iterator[LayerPlan]:
    import torch

    from demitasse.runtime.kernels import kernel

    native = plan.native(batch, torch.get_num_threads())
    packed = native.weights if native else {}
    ours = native.steps if native else set()
    for step in plan.graph.steps:
        weight = step.weights.get("weight")
        total, found = (0, 0) if weight is None else (size(weight), kept(weight))
        held = packed.get(step.name, sum(map(nbytes, step.weights.values())))
        if step.name in ours:
            seconds, torch_seconds = costs(plan.graph, step, batch)
            yield LayerPlan(step.name, step.kind, form(step, batch), found, total, held, torch_seconds / seconds)
        else:
            yield LayerPlan(step.name, step.kind, _name(step, kernel(step)), found, total, held, 1.0)


def _name(step: Step, made: object) -> str:
    from demitasse.runtime.kernels.sparse import SparseInnerProductKernel

    if isinstance(made, SparseInnerProductKernel):
        return "sparse"
    return "PyTorch" if made is step.call else "dense"


def _cells(layer: LayerPlan) -> tuple[str, ...]:
    gain = f"{layer.gain:.1f}x" if layer.gain != 1 else ""
    return (
        layer.name,
        layer.kind,
        layer.kernel,
        f"{layer.kept:,}",
        f"{layer.total:,}",
        _share(layer.kept, layer.total),
        f"{layer.nbytes:,}",
        gain,
    )


def _share(kept: int, total: int) -> str:
    return f"{kept / total:.2%}" if total else ""
