"""What a unit of squared error of a layer's outputs costs the model, from gradients on calibration inputs.

To second order, a change d of a row of weights costs half of d F d^T. F is the expected outer product of gradients of
random projections of the model's outputs: the Fisher information if the outputs are classes. Only the trace of F is
measured, for each row; its shape is taken to be that of H, the second moments of the inputs, whose trace is known. So
an output's squared error, d H d^T, costs tr(F) / (2 tr(H)). No labels are needed.

Reference: Martens 2014, New Insights and Perspectives on the Natural Gradient Method (arXiv 1412.1193), sections 5 and
9; Dong et al. 2020, HAWQ-V2 (arXiv 1911.03852), which weighs layers by traces, too; Hinton, Vinyals and Dean 2015
(arXiv 1503.02531), section 2, on the temperature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from demitasse.errors import MethodError
from demitasse.shrinking.batches import size_of
from demitasse.shrinking.targets import ShrinkTarget
from demitasse.shrinking.watching import ModelRunner, tensors_in

# examples of a batch with gradients
SMALL = 16
# the least importance of a row, relative to the mean of its parameter: its gradients may be small by chance
_LEAST = 0.1
# softens the predictions, as for distillation: of a net that is sure of most of its training images, the gradients of
# the few others would count alone
_TEMPERATURE = 3.0


def importances(
    runner: ModelRunner,
    batches: Sequence[object],
    targets: Sequence[ShrinkTarget],
    powers: Mapping[str, Tensor],
    seed: int,
) -> dict[str, Tensor]:
    """Returns what a unit of mean squared error of each output costs the model, (groups, rows) float64, by name.

    Args:
        runner: runs the model.
        batches: small batches.
        targets: the targets.
        powers: name -> mean squares of the inputs, (groups, columns); 1 for targets without inputs.
        seed: of the random projections.

    Returns:
        Empty if the model has no gradients.
    """
    generator = torch.Generator().manual_seed(seed)
    sums = {target.name: torch.zeros(target.matrix.shape[:2], dtype=torch.float64) for target in targets}
    examples = 0
    with differentiable(targets):
        for batch in batches:
            try:
                with torch.enable_grad():
                    scalar = projection(runner.outputs(batch), generator)
                    if scalar is None:
                        return {}
                    parameters = [target.item.parameter for target in targets]
                    gradients = torch.autograd.grad(scalar, parameters, allow_unused=True)
            except (RuntimeError, MethodError):
                return {}  # parts of the model have no gradients
            for target, gradient in zip(targets, gradients, strict=True):
                if gradient is not None:
                    sums[target.name] += target.views[0].matrix(gradient).double().square().sum(2).cpu()
            examples += size_of(batch)
    found = {}
    for target in targets:
        columns = target.matrix.shape[2]
        trace = powers[target.name].sum(1, keepdim=True).cpu() if target.name in powers else torch.tensor(columns)
        costs = sums[target.name] / (2 * examples) / trace.clamp(min=torch.finfo(torch.float32).tiny)
        found[target.name] = costs.clamp(min=_LEAST * float(costs.mean()))
    # layers without any effect cost little, but not nothing
    least = 1e-6 * max(float(costs.max()) for costs in found.values())
    return {name: costs.clamp(min=least) for name, costs in found.items()} if least else {}


@contextmanager
def differentiable(targets: Sequence[ShrinkTarget]) -> Iterator[None]:
    """Makes the parameters require gradients for a while."""
    before = [(target.item.parameter, target.item.parameter.requires_grad) for target in targets]
    try:
        for parameter, _ in before:
            parameter.requires_grad_()
        yield
    finally:
        for parameter, needed in before:
            parameter.requires_grad_(needed)


def projection(outputs: object, generator: torch.Generator) -> Tensor | None:
    """Returns a random projection of a model's outputs, the expected square of whose gradient is their metric.

    Outputs with 2 or 3 axes are taken as logits of classes along the last one, or as probabilities if they are such;
    of others, all entries count equally, relative to their variance.

    Returns:
        A scalar; None if no output has a gradient.
    """
    total = None
    for output in tensors_in(outputs):
        if not output.requires_grad or not output.is_floating_point() or not output.numel():
            continue
        flat = output.flatten(1) if output.ndim > 3 and output[0].numel() == output.shape[1] else output
        part = _of_classes(flat, generator) if flat.ndim in (2, 3) and flat.shape[-1] > 1 else _of_any(flat, generator)
        total = part if total is None else total + part
    return total


def _of_classes(output: Tensor, generator: torch.Generator) -> Tensor:
    """Returns the sum of the classes' log probabilities, each with a random sign and the root of the probability.

    The expected square of its gradient is the Fisher information, as with a class drawn by its probability, but no rare
    class brings a rare large gradient.
    """
    shares = output.detach().float()
    if bool((shares >= 0).all()) and bool(((shares.sum(-1) - 1).abs() < 1e-3).all()):
        logs = output.float().clamp(min=1e-12).log()
    else:
        logs = output.float()
    logs = (logs / _TEMPERATURE).log_softmax(-1)
    return (logs * _signs(logs, generator) * (logs.detach() / 2).exp()).sum()


def _of_any(output: Tensor, generator: torch.Generator) -> Tensor:
    return (output * _signs(output, generator)).sum() / output.detach().float().std(correction=0).clamp(min=1e-12)


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, like.shape, generator=generator).to(like) * 2 - 1
