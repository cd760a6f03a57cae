"""What an exported file computes, beside the net it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.caffe.layers.recurrent import Recurrent
from demitasse.caffe.net import Net
from demitasse.errors import ExportError
from demitasse.export.model import Model
from demitasse.export.steps import Step, plan

# an exported file with any batch must work with these
_BATCHES = (1, 3)

Run = Callable[[dict[str, Tensor]], Sequence[Tensor] | None]
Shape = tuple[int, ...]


class Row(NamedTuple):
    """One output.

    Attributes:
        name: of the blob.
        shape: of the last run.
        largest: the greatest magnitude that the net gives.
        difference: the greatest difference between file and net.
    """

    name: str
    shape: Shape
    largest: float
    difference: float

    @property
    def relative(self) -> float:
        """The difference by the greatest magnitude."""
        return self.difference / self.largest if self.largest else self.difference


def compare(model: Model, run: Run, tolerance: float) -> list[Row]:
    """Runs net and file on random inputs.

    Args:
        model: the net; where its batch may have any size, several are tried.
        run: the outputs of the file, in the order of the model, for inputs by name; None
            where it cannot be run here.
        tolerance: greatest relative difference of an output.

    Returns:
        A row for each output; none where the file cannot be run here.

    Raises:
        ExportError: the file gives something else; names the output, and both figures.
        UsageError: inputs of the net have batches of different sizes, and it does not take others.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, Row] = {}
    for shapes in map(model.sized, _BATCHES) if model.dynamic else (model.inputs,):
        inputs = samples(model, shapes, generator)
        _forget(model.net)
        with torch.no_grad():
            try:
                blobs = model.net(inputs, keep=model.outputs)
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


def _forget(net: Net) -> None:
    """Lets recurrent layers begin with a state of zeros, as exported ones do."""
    for layer in net.named_layers().values():
        if isinstance(layer, Recurrent) and not layer.exposes:
            for part in layer.parts:
                setattr(layer, part, torch.zeros_like(getattr(layer, part)))


def _row(name: str, expected: Tensor, given: Tensor) -> Row:
    if expected.shape != given.shape:
        raise ExportError(
            f"output {name!r} of the file has shape {list(given.shape)}, but the net's {list(expected.shape)}"
        )
    finite = expected.isfinite()
    same = torch.equal(finite, given.isfinite())
    difference = (expected - given)[finite].abs().max().item() if finite.any() else 0.0
    largest = expected[finite].abs().max().item() if finite.any() else 0.0
    return Row(name, tuple(expected.shape), largest, difference if same else float("inf"))


def samples(model: Model, shapes: Mapping[str, Shape], generator: torch.Generator) -> dict[str, Tensor]:
    """Returns random inputs: normal, but whole numbers and flags where a layer asks for them."""
    limits: dict[str, int] = {}
    for step in plan(model).steps:
        for index, name in enumerate(step.bottoms):
            limit = _LIMITS.get((step.kind, index))
            if limit is not None and name in model.inputs:
                limits[name] = limit(step)
    drawn = {}
    for name, shape in shapes.items():
        if name in limits:
            drawn[name] = torch.randint(limits[name], shape, generator=generator).float()
        else:
            drawn[name] = torch.randn(shape, generator=generator)
    return drawn


def _classes(step: Step) -> int:
    return step.shapes[0][1]


def _flags(step: Step) -> int:
    return 2


# layer type and index of bottom -> below which its whole numbers lie
_LIMITS: dict[tuple[str, int], Callable[[Step], int]] = {
    ("Accuracy", 1): _classes,
    ("BatchReindex", 1): lambda step: step.shapes[0][0],
    ("ContrastiveLoss", 2): _flags,
    ("Embed", 0): lambda step: step.layer.spec.embed_param.input_dim,
    ("HingeLoss", 1): _classes,
    ("InfogainLoss", 1): _classes,
    ("LSTM", 1): _flags,
    ("MultinomialLogisticLoss", 1): _classes,
    ("RNN", 1): _flags,
    ("SigmoidCrossEntropyLoss", 1): _flags,
    ("SoftmaxWithLoss", 1): _classes,
}
