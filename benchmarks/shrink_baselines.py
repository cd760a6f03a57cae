"""The usual methods of compression without training, layer by layer, to stand beside ``demitasse.shrink``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import NamedTuple

import torch
from torch import Tensor, nn

import demitasse
from demitasse.methods import pow2
from demitasse.methods.one_shot import codebooks, masks
from demitasse.methods.one_shot.compensation import damped, inverse_factor, sweep
from demitasse.methods.one_shot.layer import GridKind
from demitasse.shrinking.batches import Forward, run
from demitasse.shrinking.inputs import statistics_of
from demitasse.shrinking.replay import Replay
from demitasse.shrinking.survey import survey
from demitasse.shrinking.targets import targets_of
from demitasse.shrinking.watching import ModelRunner, evaluating

OURS = "demitasse.shrink"

# (weight (groups, rows, columns), Hessian / count) -> the new weight
Baseline = Callable[[Tensor, Tensor], Tensor]


class Row(NamedTuple):
    """A row of the table: bits and sparsity, or None, and the baselines that belong to it."""

    bits: int | None
    sparsity: float
    baselines: Sequence[str]


def top_of(weight: Tensor, hessian: Tensor, levels: int) -> int:
    """Returns the largest exponent whose range has the least error, weighted by the diagonal of the Hessian."""
    largest = int(pow2.exponent(weight.abs().max()))
    diagonal = hessian.diagonal(dim1=1, dim2=2).unsqueeze(1)

    def error(top: int) -> float:
        rounded = pow2.project(weight, pow2.Exponents(top - levels + 1, top))
        return float(((rounded - weight).square() * diagonal).sum())

    return min(range(largest - 2, largest + 2), key=error)


def baseline(name: str, bits: int | None, sparsity: float, grid: GridKind = "pow2") -> Baseline:
    """Returns a baseline's treatment of one layer.

    Powers of two have one range for each layer; a uniform grid has a scale for each channel, from its largest weight.
    """

    def treat(weight: Tensor, hessian: Tensor) -> Tensor:
        count = round(sparsity * weight.numel())
        factor = inverse_factor(damped(hessian, 0.01))
        levels = pow2.levels_of_bits(bits) if bits else 0
        scale = torch.ones_like(weight[:, :, :1])
        if bits and grid == "uniform":
            levels = (1 << (bits - 1)) - 1
            scale = (weight.abs().amax(2, keepdim=True) / levels).clamp(min=torch.finfo(weight.dtype).tiny)
        elif name == "rounding":
            return pow2.project(weight, pow2.grid(float(weight.abs().max()), levels))
        cut = torch.zeros_like(weight, dtype=torch.bool)
        if name == "magnitude":
            cut = masks.smallest(weight.abs(), count)
        elif name == "Wanda":
            norms = hessian.diagonal(dim1=1, dim2=2).sqrt().unsqueeze(1)
            scores = weight.abs() * norms
            rows = [masks.smallest(row, round(sparsity * len(row))) for row in scores.flatten(0, 1)]
            cut = torch.stack(rows).view_as(weight)
        elif name == "SparseGPT":
            cut = masks.choose(weight, factor, count, torch.ones_like(weight[:, :, 0]))
        kept = torch.where(cut, 0.0, weight)
        book = None
        if levels:
            top = top_of(kept, hessian, levels) if grid == "pow2" else 0
            book = (codebooks.powers(top, levels) if grid == "pow2" else codebooks.integers(levels)).to(weight)
        compensates = name in ("GPTQ", "SparseGPT")

        def choose(value: Tensor, column: int, curvature: Tensor) -> Tensor:
            found = value if book is None else book[codebooks.nearest(value, book)]
            return torch.where(cut[:, :, column], 0.0, found)

        if compensates:
            return sweep(weight / scale, factor, choose) * scale
        return kept if book is None else torch.where(cut, 0.0, book[codebooks.nearest(kept / scale, book)] * scale)

    return treat


def compress_by(model: nn.Module, batches: Sequence[object], treat: Baseline, forward: Forward = run) -> None:
    """Treats layer after layer, with the inputs of the part that is done."""
    targets, _ = targets_of(model, None, ())
    with evaluating(model):
        runner = ModelRunner(model, forward)
        seen = survey(runner, batches[0], {target.views[0].watched: target.name for target in targets})
        replay = Replay(model, seen)
        for target in sorted(targets, key=lambda one: seen.first[one.views[0].watched]):
            found = statistics_of(runner, batches, [target], seen, {}, replay)[target.name]
            matrix = treat(target.matrix.double(), found.hessian / found.count)
            with torch.no_grad():
                target.item.parameter.copy_(target.views[0].weight(matrix, target.dense.shape))


def size(model: nn.Module) -> int:
    return demitasse.save(model, BytesIO(), format="demi")
