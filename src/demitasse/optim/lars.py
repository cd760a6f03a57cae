"""The optimizer LARS for PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from demitasse.errors import MethodError
from demitasse.methods import lars, settings, shards

Group = dict[str, Any]
Params = Iterable[Tensor] | Iterable[Group]


class LARS(Optimizer):
    """SGD with momentum, and a local rate for each parameter: trust * |w| / (|g| + weight_decay * |w|).

    g <- g + weight_decay * w
    v <- momentum * v + lr * local * g
    w <- w - v                          (nesterov: w - (momentum * v + lr * local * g))

    v includes the learning rate, as in the paper and in Caffe, unlike in torch.optim.SGD. Parameters of at most one
    dimension (biases, and scales and shifts of normalization) are excluded: they take plain steps of SGD without
    decay, since rates scaled by their norm slow down training.

    Args:
        params: parameters or groups of parameters; a group may override each of the settings below.
        lr: the learning rate, a number or a tensor.
        momentum: the factor of v.
        weight_decay: the factor of the weight that is added to the gradient.
        trust: the paper's trust coefficient; local_gw_ratio in Caffe's solvers.
        nesterov: whether to use Nesterov's momentum.
        maximize: whether to maximize the objective instead of minimizing it.
        exclude_1d: whether to exclude parameters of at most one dimension.
        caffe: whether to behave like Caffe's solver type LarsSGD: no parameter is excluded, and g in the formula of
            the local rate includes the decay. Otherwise g is the gradient only, as in the paper.
        foreach: whether to update many tensors in one launch; None: if all are on a GPU and not sharded.

    Raises:
        MethodError: a setting is invalid.

    Reference: You 2017, algorithm 1 and equation (6).
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        *,
        nesterov: bool = False,
        maximize: bool = False,
        exclude_1d: bool = True,
        caffe: bool = False,
        foreach: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust": trust,
            "nesterov": nesterov,
            "maximize": maximize,
            "exclude_1d": exclude_1d and not caffe,
            "caffe": caffe,
            "foreach": foreach,
        }
        _check({**defaults, "exclude_1d": exclude_1d})
        try:
            super().__init__(params, defaults)
        except (TypeError, ValueError) as error:
            raise MethodError(f"params: {error}") from error

    def add_param_group(self, param_group: Group) -> None:
        """Adds a group of parameters.

        Raises:
            MethodError: the group is not a dict, or a setting is invalid.
        """
        if not isinstance(param_group, dict):
            raise MethodError(f"param_group is {settings.shown(param_group)}; expected a dict")
        _check({**self.defaults, **param_group})
        if param_group.get("caffe"):
            param_group.setdefault("exclude_1d", False)
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes a step.

        Args:
            closure: computes the loss again, with its gradients.

        Raises:
            MethodError: a gradient is sparse or complex.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # check all gradients before the first update, so that a refused step changes nothing
        found = [
            [(weight, _checked(weight.grad)) for weight in group["params"] if weight.grad is not None]
            for group in self.param_groups
        ]
        for group, pairs in zip(self.param_groups, found, strict=True):
            if not pairs:
                continue
            weights, gradients = [weight for weight, _ in pairs], [gradient for _, gradient in pairs]
            foreach = group["foreach"]
            if foreach is None:
                foreach = all(weight.is_cuda and not shards.is_sharded(weight) for weight in weights)
            update = _foreach if foreach else _one_by_one
            update(weights, gradients, [self._velocity(weight) for weight in weights], group)
        return loss

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores a state; settings that it lacks, such as that of another optimizer, come from the constructor."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        return cast(Tensor, state["velocity"])


def _check(group: Group) -> None:
    rate = group["lr"]
    if isinstance(rate, Tensor) and rate.numel() != 1:
        raise MethodError(f"lr is a tensor of {rate.numel()} numbers; expected one")
    settings.number("lr", rate.item() if isinstance(rate, Tensor) else rate, 0)
    for name in ("weight_decay", "trust"):
        settings.number(name, group[name], 0)
    settings.number("momentum", group["momentum"], 0, 1)
    for name in ("nesterov", "maximize", "exclude_1d", "caffe"):
        settings.flag(name, group[name])
    if group["foreach"] is not None:
        settings.flag("foreach", group["foreach"])
    if group["nesterov"] and not group["momentum"]:
        raise MethodError("nesterov is True and momentum is 0; expected a positive momentum")


def _checked(gradient: Tensor) -> Tensor:
    if gradient.is_sparse or gradient.is_complex():
        kind = "sparse" if gradient.is_sparse else "complex"
        raise MethodError(f"a gradient of shape {tuple(gradient.shape)} is {kind}; expected dense, real gradients")
    return gradient


def _is_left_out(weight: Tensor, group: Group) -> bool:
    return bool(group["exclude_1d"]) and weight.ndim <= 1


def _one_by_one(weights: list[Tensor], gradients: list[Tensor], velocities: list[Tensor], group: Group) -> None:
    decay, momentum = group["weight_decay"], group["momentum"]
    for weight, given, velocity in zip(weights, gradients, velocities, strict=True):
        gradient = -given if group["maximize"] else given
        if _is_left_out(weight, group):
            change = gradient * group["lr"]
        else:
            decayed = gradient.add(weight, alpha=decay) if decay else gradient
            seen = decayed if group["caffe"] else gradient
            change = decayed * (group["lr"] * lars.local_rate(weight, seen, group["trust"], decay))
        velocity.mul_(momentum).add_(change)
        weight.sub_(change.add(velocity, alpha=momentum) if group["nesterov"] else velocity)


def _norms(tensors: list[Tensor]) -> Tensor:
    """Returns the norms as one tensor, in float32 or wider, since squares of half-precision numbers would overflow."""
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    return torch.stack(list(torch._foreach_norm(tensors, 2, dtype)))


def _foreach(weights: list[Tensor], gradients: list[Tensor], velocities: list[Tensor], group: Group) -> None:
    """Does the same as :func:`_one_by_one` for many tensors at once; local rates stay on the device."""
    decay, momentum = group["weight_decay"], group["momentum"]
    if group["maximize"]:
        gradients = list(torch._foreach_neg(gradients))
    scaled = [index for index, weight in enumerate(weights) if not _is_left_out(weight, group)]
    changes = list(gradients)
    rates = [torch.ones((), device=weight.device) * group["lr"] for weight in weights]
    if scaled:
        chosen, plain = [weights[i] for i in scaled], [gradients[i] for i in scaled]
        decayed = list(torch._foreach_add(plain, chosen, alpha=decay)) if decay else plain
        norms, seen = _norms(chosen), _norms(decayed if group["caffe"] else plain)
        local = lars.rate_of_norms(norms, seen, group["trust"], decay) * group["lr"]
        for index, gradient, rate in zip(scaled, decayed, local.unbind(), strict=True):
            changes[index], rates[index] = gradient, rate
    changes = list(torch._foreach_mul(changes, rates))
    torch._foreach_mul_(velocities, momentum)
    torch._foreach_add_(velocities, changes)
    if group["nesterov"]:
        torch._foreach_add_(changes, velocities, alpha=momentum)
        torch._foreach_sub_(weights, changes)
    else:
        torch._foreach_sub_(weights, velocities)
