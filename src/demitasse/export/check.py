"""Compares what an exported file computes with the net that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.errors import ExportError
from demitasse.graph import Graph, Model, Step
from demitasse.graph.graph import Shape

# sizes that are tried where the batch may have any size
_BATCHES = (1, 3)

Run = Callable[[dict[str, Tensor]], Sequence[Tensor] | None]


class OutputComparison(NamedTuple):
    """How far one output of a file is from that of the net.

    Attributes:
        name: name of the blob.
        shape: its shape in the last run.
        largest: greatest magnitude among the values of the net.
        difference: greatest absolute difference between file and net.
    """

    name: str
    shape: Shape
    largest: float
    difference: float

    @property
    def relative(self) -> float:
        """The difference divided by the greatest magnitude."""
        return self.difference / self.largest if self.largest else self.difference


def compare(model: Model, run: Run, tolerance: float) -> list[OutputComparison]:
    """Runs net and file on random inputs.

    Args:
        model: the net; where its batch may have any size, several sizes are tried.
        run: runs the file: takes inputs by name and returns the outputs in the order of the model, or None where the
            file cannot be run here.
        tolerance: greatest allowed relative difference of an output.

    Returns:
        An entry for each output; an empty list where the file cannot be run here.

    Raises:
        ExportError: the file computes something else; says which output, and by how much.
        UsageError: the inputs of the net have batches of different sizes, and it does not take others.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, OutputComparison] = {}
    for shapes in map(model.sized, _BATCHES) if model.dynamic else (model.inputs,):
        inputs = samples(model, shapes, generator)
        try:
            blobs = model.reference(inputs)
        except RuntimeError:
            model.batch()  # says so where inputs cannot all have one batch
            raise
        theirs = run(inputs)
        if theirs is None:
            return []
        for name, given in zip(model.outputs, theirs, strict=True):
            row = _row(name, blobs[name], given)
            if not row.relative <= tolerance:
                raise ExportError(
                    f"output {name!r} of the file differs by {row.difference:.3g} from the net's, whose greatest "
                    f"magnitude is {row.largest:.3g}; expected at most {tolerance:g} of that"
                )
            found[name] = max(row, found.get(name, row), key=lambda each: each.relative)
    return list(found.values())


def _row(name: str, expected: Tensor, given: Tensor) -> OutputComparison:
    if expected.shape != given.shape:
        raise ExportError(
            f"output {name!r} of the file has shape {list(given.shape)}, but the net's {list(expected.shape)}"
        )
    finite = expected.isfinite()
    same = torch.equal(finite, given.isfinite())
    difference = (expected - given)[finite].abs().max().item() if finite.any() else 0.0
    largest = expected[finite].abs().max().item() if finite.any() else 0.0
    return OutputComparison(name, tuple(expected.shape), largest, difference if same else float("inf"))


def samples(model: Model, shapes: Mapping[str, Shape], generator: torch.Generator) -> dict[str, Tensor]:
    """Returns random inputs: normally distributed, or whole numbers where a layer takes labels, indices or flags."""
    limits: dict[str, int] = {}
    names = {number: name for name, number in model.graph.inputs.items()}
    for step in model.graph.steps:
        for index, number in enumerate(step.inputs):
            limit = _LIMITS.get((step.kind, index))
            if limit is not None and number in names:
                limits[names[number]] = limit(model.graph, step)
    drawn = {}
    for name, shape in shapes.items():
        if name in limits:
            drawn[name] = torch.randint(limits[name], shape, generator=generator).float()
        else:
            drawn[name] = torch.randn(shape, generator=generator)
    return drawn


def _classes(graph: Graph, step: Step) -> int:
    return graph.shapes(step)[0][1]


def _flags(graph: Graph, step: Step) -> int:
    return 2


# kind of an operation and index of its input -> the number below which the whole numbers of that input lie
_LIMITS: dict[tuple[str, int], Callable[[Graph, Step], int]] = {
    ("Accuracy", 1): _classes,
    ("BatchReindex", 1): lambda graph, step: graph.shapes(step)[0][0],
    ("ContrastiveLoss", 2): _flags,
    ("Embed", 0): lambda graph, step: len(step.tensors["weight"]),
    ("HingeLoss", 1): _classes,
    ("InfogainLoss", 1): _classes,
    ("LSTM", 1): _flags,
    ("Lstm", 1): _flags,
    ("MultinomialLogisticLoss", 1): _classes,
    ("PSROIPooling", 1): lambda graph, step: graph.shapes(step)[0][0],
    ("RNN", 1): _flags,
    ("ROIPooling", 1): lambda graph, step: graph.shapes(step)[0][0],
    ("SegAccuracy", 1): _classes,
    ("Unpooling", 1): _flags,
    ("Upsample", 1): _flags,
    ("SigmoidCrossEntropyLoss", 1): _flags,
    ("SoftmaxWithLoss", 1): _classes,
    ("SoftmaxWithLossOHEM", 1): _classes,
}
