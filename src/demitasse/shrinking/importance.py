"""What a unit of squared error of a layer's outputs costs the model, from gradients on calibration inputs.

To second order, errors d of a layer's outputs change the model's outputs z by J d, and cost half the square of that in
the metric of the outputs: for classes, the divergence of their probabilities, whose metric is the Fisher information.
The expected squares of gradients of random projections of z are the diagonal of J^T F J. No labels are needed.

Reference: Martens 2014, New Insights and Perspectives on the Natural Gradient Method (arXiv 1412.1193), sections 5, 9;
Dong et al. 2020, HAWQ-V2 (arXiv 1911.03852), which weights layers by second derivatives, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from demitasse.errors import MethodError
from demitasse.shrinking.batches import size_of
from demitasse.shrinking.watching import Runner, tensors_in


def importance(runner: Runner, batches: Sequence[object], axes: Mapping[nn.Module, int], seed: int) -> dict[nn.Module, Tensor]:
    """Returns for each layer the mean squared gradient of its outputs, (channels,) float64, per example.

    Args:
        runner: runs the model.
        batches: small batches.
        axes: the layers, each with the axis of the channels of its outputs.
        seed: of the random projections.

    Returns:
        module -> half the sum over positions of the squared gradients, as mean over examples; empty if the model has no
        gradients.
    """
    generator = torch.Generator().manual_seed(seed)
    sums: dict[nn.Module, Tensor] = {}
    examples = 0
    with _differentiable(runner.model, axes):
        for batch in batches:
            kept: list[tuple[nn.Module, Tensor]] = []
            try:
                with torch.enable_grad(), _kept(axes, kept):
                    scalar = projection(runner.outputs(batch), generator)
                    if scalar is None or not kept:
                        return {}
                    gradients = torch.autograd.grad(scalar, [output for _, output in kept], allow_unused=True)
            except (RuntimeError, MethodError):
                return {}  # the model has parts without gradients
            for (module, _), gradient in zip(kept, gradients, strict=True):
                if gradient is not None:
                    channels = gradient.movedim(axes[module], 0).flatten(1)
                    found = channels.double().square().sum(1).cpu()
                    sums[module] = sums[module] + found if module in sums else found
            examples += size_of(batch)
    return {module: total / (2 * examples) for module, total in sums.items()}


@contextmanager
def _differentiable(model: nn.Module, modules: Mapping[nn.Module, int]) -> Iterator[None]:
    """Makes the weights of layers require gradients for a while, so that outputs do."""
    before = {
        parameter: parameter.requires_grad for module in modules for parameter in module.parameters(recurse=False)
    }
    try:
        for parameter in before:
            parameter.requires_grad_(parameter.is_floating_point())
        yield
    finally:
        for parameter, needed in before.items():
            parameter.requires_grad_(needed)


@contextmanager
def _kept(modules: Mapping[nn.Module, int], kept: list[tuple[nn.Module, Tensor]]) -> Iterator[None]:
    """Keeps the outputs of layers; the model goes on with copies, which it may change in place."""

    def after(module: nn.Module, arguments: object, output: object) -> object:
        if not isinstance(output, Tensor) or not output.requires_grad:
            return output
        kept.append((module, output))
        return output.clone()

    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(module.register_forward_hook(after))
        yield


def projection(outputs: object, generator: torch.Generator) -> Tensor | None:
    """Returns a random projection of a model's outputs, the expected square of whose gradient is their metric.

    Outputs with 2 or 3 axes are taken as logits of classes along the last one, or as probabilities if they are such;
    of others, all entries count equally, relative to their variance.

    Returns:
        A scalar; None if no output has a gradient.
    """
    total = None
    for output in tensors_in(outputs):
        if not output.requires_grad or not output.is_floating_point():
            continue
        flat = output.flatten(1) if output.ndim > 3 and output[0].numel() == output.shape[1] else output
        part = _of_classes(flat, generator) if flat.ndim in (2, 3) and flat.shape[-1] > 1 else _of_any(flat, generator)
        total = part if total is None else total + part
    return total


def _of_classes(output: Tensor, generator: torch.Generator) -> Tensor:
    logs = output.float()
    shares = logs.detach()
    if bool((shares >= 0).all()) and bool(((shares.sum(-1) - 1).abs() < 1e-3).all()):
        logs = logs.clamp(min=1e-12).log()
    else:
        logs = logs.log_softmax(-1)
    drawn = logs.detach().exp().flatten(0, -2).cpu().multinomial(1, generator=generator)
    return logs.flatten(0, -2).gather(1, drawn.to(logs.device)).sum()


def _of_any(output: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
    return (output * signs).sum() / output.detach().float().std().clamp(min=1e-12)
