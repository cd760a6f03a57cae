"""How much each position of a sequence matters to the model, from gradients on the calibration inputs.

The loss of a layer is a sum over its inputs, and to second order each one counts by the square of the gradient at its
output. The positions of a sequence differ much in it: separators have large values that hardly change anything.
Gradients of single positions are also chance, and few that count for much would leave too few to fit a layer to, so
the weight is the root of the mean square, halfway to all alike.

Windows of images count alike: they are many, and weighing them changed nothing for nets of images.

Reference: Kim et al. 2025, GuidedQuant (arXiv 2505.07004), section 3.2, which takes the squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from demitasse.errors import MethodError
from demitasse.shrinking.batches import padding_of, parted, size_of
from demitasse.shrinking.importance import SMALL, differentiable, projection
from demitasse.shrinking.targets import ShrinkTarget
from demitasse.shrinking.watching import ModelRunner

# (number of the batch, module) -> for each of its calls, the weights of the positions, (n, sizes...)
PositionWeights = dict[tuple[int, nn.Module], list[Tensor]]


def position_weights(
    runner: ModelRunner, batches: Sequence[object], targets: Sequence[ShrinkTarget], seed: int
) -> PositionWeights:
    """Returns the weights of the positions of layers that work position by position, with a mean square of 1.

    Args:
        runner: runs the model.
        batches: the calibration inputs.
        targets: the targets.
        seed: of the random projections.

    Returns:
        Without the layers whose outputs have no positions or no gradients, or not the same positions in all examples.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = {view.watched for target in targets for view in target.views if view.by_position}
    found: PositionWeights = {}
    with differentiable(targets):
        for number, batch in enumerate(batches if modules else ()):
            parts = []
            for part in parted([batch], SMALL, size_of(batch)):
                squares = _squares(runner, part, modules, generator)
                if not squares:
                    return {}
                parts.append(squares)
            for module in parts[0]:
                shapes = [[call.shape[1:] for call in part.get(module, ())] for part in parts]
                if all(one == shapes[0] for one in shapes):  # not where sequences are padded to the longest of a part
                    calls = zip(*(part[module] for part in parts), strict=True)
                    found[number, module] = [torch.cat(call) for call in calls]
    for module in modules:
        _normalize({number: weights for (number, one), weights in found.items() if one is module}, batches)
    return found


def _squares(
    runner: ModelRunner, batch: object, modules: set[nn.Module], generator: torch.Generator
) -> dict[nn.Module, list[Tensor]]:
    """Returns the mean squares of the gradients at each position of the outputs, for each call of the modules."""
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, arguments: object, output: object) -> object:
        if not isinstance(output, Tensor) or output.ndim < 3 or not output.requires_grad:
            return output
        outputs.append((module, output))
        return output.clone()  # the model may change it in place

    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(module.register_forward_hook(keep))
        try:
            with torch.enable_grad():
                scalar = projection(runner.outputs(batch), generator)
                if scalar is None or not outputs:
                    return {}
                gradients = torch.autograd.grad(scalar, [output for _, output in outputs], allow_unused=True)
        except (RuntimeError, MethodError):
            return {}  # parts of the model have no gradients
    found: dict[nn.Module, list[Tensor]] = {}
    for (module, output), gradient in zip(outputs, gradients, strict=True):
        squares = output.new_zeros(output.shape[:-1]) if gradient is None else gradient.float().square().mean(-1)
        found.setdefault(module, []).append(squares)
    return found


def _normalize(squares: dict[int, list[Tensor]], batches: Sequence[object]) -> None:
    """Makes weights of squares, in place; padding does not count for their mean."""
    total, count = 0.0, 0
    for number, calls in squares.items():
        padding = padding_of(batches[number])
        for call in calls:
            seen = call if padding is None or call.shape != padding.shape else call[~padding.to(call.device)]
            total, count = total + float(seen.double().sum()), count + seen.numel()
    for calls in squares.values():
        for call in calls:
            if 0 < total < float("inf"):
                call.mul_(count / total).sqrt_()
            else:
                call.fill_(1.0)
