"""The usual ways to compress without training, which ``demitasse.shrink`` is compared with.

They see the same inputs: rounding to the nearest value, magnitude, Wanda's criterion (Sun et al. 2023, arXiv
2306.11695: |w| times the norm of its input), plain GPTQ (Frantar et al. 2022, arXiv 2210.17323) and plain SparseGPT
(Frantar and Alistarh 2023, arXiv 2301.00774), both with the inputs of the compressed part. Powers of two have one range
for each layer, as INQ has it; uniform grids a step for each channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from demitasse.methods import pow2
from demitasse.methods.one_shot import codebooks, masks
from demitasse.methods.one_shot.compensation import damped, inverse_factor, sweep
from demitasse.methods.one_shot.layer import GridKind
from demitasse.shrinking.batches import Forward
from demitasse.shrinking.inputs import statistics_of
from demitasse.shrinking.replay import Replay
from demitasse.shrinking.survey import survey
from demitasse.shrinking.targets import targets_of
from demitasse.shrinking.watching import ModelRunner, evaluating

# (weight (groups, rows, columns), Hessian / count) -> the new weight
Baseline = Callable[[Tensor, Tensor], Tensor]
Round = Callable[[Tensor], Tensor]


def scale_of(weight: Tensor, diagonal: Tensor, codebook: Tensor, grid: GridKind, searches: bool) -> Tensor:
    """Returns the scale of the codebook, broadcastable to the weight.

    Args:
        weight: (groups, rows, columns).
        diagonal: (groups, 1, columns), the weights of squared errors.
        codebook: the values at scale 1.
        grid: one scale for ``pow2``, one for each row for ``uniform``.
        searches: whether it has the least squared error; else it holds the largest weight.
    """
    if grid == "pow2":
        largest = 2.0 ** int(pow2.exponent(weight.abs().max()))
        steps, axes = (0.25, 0.5, 1.0, 2.0), (0, 1, 2)
    else:
        largest = weight.abs().amax(2, keepdim=True).clamp(min=1e-12) / float(codebook[-1])
        steps, axes = tuple(k / 20 for k in range(8, 21)), (2,)
    candidates = torch.stack(
        [torch.as_tensor(largest * step).expand(weight.shape[0], weight.shape[1], 1) for step in steps]
    )
    if not searches:
        return torch.as_tensor(largest)
    losses = []
    for scale in candidates:
        error = codebook[codebooks.nearest(weight / scale, codebook)] * scale - weight
        losses.append((error.square() * diagonal).sum(axes, keepdim=True).expand_as(scale))
    return candidates.gather(0, torch.stack(losses).argmin(0, keepdim=True))[0]


def baseline(name: str, bits: int | None, sparsity: float, grid: GridKind) -> Baseline:
    """Returns a baseline's treatment of one layer."""
    compensates = name in ("GPTQ", "SparseGPT")

    def rounding(weight: Tensor, diagonal: Tensor) -> Round:
        if not bits:
            return lambda values: values
        book = (
            codebooks.powers(0, pow2.levels_of_bits(bits))
            if grid == "pow2"
            else codebooks.integers(2 ** (bits - 1) - 1)
        )
        scale = scale_of(weight, diagonal, book, grid, searches=name != "rounding")
        return lambda values: book[codebooks.nearest(values / scale, book)] * scale

    def treat(weight: Tensor, hessian: Tensor) -> Tensor:
        diagonal = hessian.diagonal(dim1=1, dim2=2).unsqueeze(1)
        count = round(sparsity * weight.numel())
        cut = torch.zeros_like(weight, dtype=torch.bool)
        factor = inverse_factor(damped(hessian, 0.01)) if compensates else None
        if name == "magnitude":
            cut = masks.smallest(weight.abs(), count)
        elif name == "Wanda":
            scores = weight.abs() * diagonal.sqrt()
            rows = [masks.smallest(row, round(sparsity * len(row))) for row in scores.flatten(0, 1)]
            cut = torch.stack(rows).view_as(weight)
        elif factor is not None and count:
            cut = masks.choose(weight, factor, count, torch.ones_like(weight[:, :, 0]))
        kept = torch.where(cut, 0.0, weight)
        rounded = rounding(kept, diagonal)
        if factor is None:
            return torch.where(cut, 0.0, rounded(kept))
        return sweep(
            weight,
            factor,
            lambda value, column, curvature: torch.where(cut[:, :, column], 0.0, rounded(value.unsqueeze(2))[:, :, 0]),
        )

    return treat


def compress_by(model: nn.Module, inputs: Sequence[object], forward: Forward, treat: Baseline) -> None:
    """Treats layer after layer, with the inputs of the part that is done."""
    targets, _ = targets_of(model, None, ())
    with evaluating(model, torch.device("cpu")):
        runner = ModelRunner(model, forward)
        seen = survey(runner, inputs[0], {target.views[0].watched: target.name for target in targets})
        replay = Replay(model, seen)
        for target in sorted(targets, key=lambda one: seen.first[one.views[0].watched]):
            found = statistics_of(runner, inputs, [target], seen, {}, replay)[target.name]
            matrix = treat(target.matrix.double(), found.hessian / found.count)
            with torch.no_grad():
                target.item.parameter.copy_(target.views[0].weight(matrix, target.dense.shape))
