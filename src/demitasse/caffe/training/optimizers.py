"""Caffe's update rules, one a solver type.

In each rule g is the gradient: clipped, averaged over iter_size, with the regulariser added. The learning rate is
inside the history, unlike in torch.optim. Reference: Caffe's solver page, and the papers named at the classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import log, schema
from demitasse.caffe.net import LearnableBlob, Net
from demitasse.errors import UsageError
from demitasse.methods import fused, lars
from demitasse.registry import Registry


class UpdateStep(NamedTuple):
    """What one iteration's updates have in common.

    Attributes:
        rate: the learning rate, before lr_mult.
        scale: factor of the gradients: clipping, and 1 / iter_size.
        iteration: counted from 0.
    """

    rate: float
    scale: float
    iteration: int


class Optimizer(ABC):
    """Updates the learnable blobs of a net; blobs that are buffers (masks, statistics) it leaves alone.

    Frozen entries (``free_masks`` of the layers) keep their bits under every rule, and their history is 0. A blob
    without a gradient counts as one with gradient 0.

    Args:
        net: the net in training.
        solver: the SolverParameter.

    Attributes:
        slots: number of history tensors a blob.
        history: in the order of Caffe's solverstate: the first of every blob, then the second of every blob.

    Raises:
        UsageError: a setting has no meaning for this solver type.
    """

    slots: ClassVar[int] = 1

    def __init__(self, net: Net, solver: schema.SolverParameter) -> None:
        self.net, self.solver = net, solver
        self.check()
        self.history = [
            torch.zeros_like(blob.tensor, dtype=_history_type(blob), requires_grad=False)
            for _ in range(self.slots)
            for blob in net.learnable
        ]

    def check(self) -> None:
        """Raises UsageError where a setting has no meaning."""
        _require(self.solver.iter_size >= 1, "iter_size", self.solver.iter_size, "1 or more")
        kind = self.solver.regularization_type
        _require(kind in ("L1", "L2"), "regularization_type", kind, "'L1' or 'L2'")

    @torch.no_grad()
    def step(self, rate: float, iteration: int) -> None:
        """Updates all blobs from their ``.grad``, the sum over ``iter_size`` passes.

        Args:
            rate: the learning rate of this iteration, before lr_mult.
            iteration: counted from 0.
        """
        step = UpdateStep(rate, self._clip_scale() / self.solver.iter_size, iteration)
        blobs = self.net.learnable
        free = {name: layer.free_masks() for name, layer in self.net.named_layers().items()}
        for index, blob in enumerate(blobs):
            if isinstance(blob.tensor, nn.Parameter):
                history = self.history[index :: len(blobs)]
                self.update(blob, history, free[blob.layer].get(blob.name), step)

    @abstractmethod
    def update(self, blob: LearnableBlob, history: list[Tensor], free: Tensor | None, step: UpdateStep) -> None:
        """Updates one blob from ``blob.tensor.grad``.

        Args:
            blob: its ``tensor`` is changed.
            history: its slots; changed.
            free: bool, False where frozen; None where nothing is.
            step: the iteration.
        """

    def on_update(self, blob: LearnableBlob, change: Tensor) -> None:  # noqa: B027 (most runs do not look)
        """Called with what was subtracted from a blob; does nothing. The Python interface shows it, as Caffe does."""

    def gradient(self, blob: LearnableBlob, step: UpdateStep) -> Tensor:
        """Returns a new tensor: the scaled gradient with the regulariser."""
        weight = blob.tensor
        scaled = torch.zeros_like(weight) if weight.grad is None else weight.grad * step.scale
        penalty = torch.sign(weight) if self.solver.regularization_type == "L1" else weight
        return scaled.add_(penalty, alpha=self.decay(blob))

    def decay(self, blob: LearnableBlob) -> float:
        """Returns the weight decay of a blob."""
        return float(self.solver.weight_decay * blob.decay_mult)

    def _clip_scale(self) -> float:
        """Returns the factor that brings the norm of all gradients together down to ``clip_gradients``."""
        limit = self.solver.clip_gradients
        gradients = [blob.tensor.grad for blob in self.net.learnable if blob.tensor.grad is not None]
        if limit < 0 or not gradients:
            return 1.0
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if norm <= limit:
            return 1.0
        numbers = f"(L2 norm {log.number(norm)} > {log.number(limit)}) by scale factor {log.number(limit / norm)}"
        log.info("sgd_solver.cpp:94", f"Gradient clipping: scaling down gradients {numbers}")
        return float(limit / norm)


def _history_type(blob: LearnableBlob) -> torch.dtype:
    return blob.tensor.dtype if blob.tensor.is_floating_point() else torch.float32


def _require(condition: bool, field: str, found: object, expected: str) -> None:
    if not condition:
        shown = f"{found:g}" if isinstance(found, float) else repr(found)
        raise UsageError(f"solver: {field} is {shown}; expected {expected}")


OPTIMIZERS: Registry[type[Optimizer]] = Registry("solver type")


@OPTIMIZERS.register("SGD")
class SGD(Optimizer):
    """v <- momentum * v + rate * g; w <- w - v."""

    @override
    def update(self, blob: LearnableBlob, history: list[Tensor], free: Tensor | None, step: UpdateStep) -> None:
        weight, gradient, scale, decay = blob.tensor, blob.tensor.grad, step.scale, self.decay(blob)
        if self.solver.regularization_type == "L1":
            gradient, scale, decay = self.gradient(blob, step), 1.0, 0.0
        elif gradient is None:
            gradient, scale = weight, 0.0
        momentum, rate = self.solver.momentum, step.rate * blob.lr_mult
        fused.sgd(weight, gradient, history[0], momentum=momentum, rate=rate, scale=scale, decay=decay, free=free)
        self.on_update(blob, history[0])


@OPTIMIZERS.register("LarsSGD")
class LarsSGD(Optimizer):
    """v <- momentum * v + rate * local * g, local = ratio * |w| / (|g| + weight_decay * |w|); w <- w - v.

    As in the original, ``lr_mult`` is not used, and ``weight_decay`` in the formula is without ``decay_mult``.

    Reference: You, Gitman, Ginsburg 2017 (arXiv 1708.03888), algorithm 1.
    """

    @override
    def update(self, blob: LearnableBlob, history: list[Tensor], free: Tensor | None, step: UpdateStep) -> None:
        solver, gradient = self.solver, self.gradient(blob, step)
        local = lars.local_rate(blob.tensor, gradient, solver.local_gw_ratio, solver.weight_decay)
        rate = step.rate * float(local)
        fused.sgd(blob.tensor, gradient, history[0], momentum=solver.momentum, rate=rate, free=free)
        self.on_update(blob, history[0])


class _Plain(Optimizer):
    """A rule that is written in terms of g, by torch's operations."""

    @override
    def update(self, blob: LearnableBlob, history: list[Tensor], free: Tensor | None, step: UpdateStep) -> None:
        gradient = self.gradient(blob, step)
        change = self.change(gradient, history, step.rate * blob.lr_mult, step.iteration)
        if free is not None:
            for tensor in (change, *history):
                tensor.masked_fill_(~free, 0)
        blob.tensor.sub_(change)
        self.on_update(blob, change)

    @abstractmethod
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        """Returns a new tensor, what is subtracted from the weight; updates the history."""

    def _check_no_momentum(self) -> None:
        _require(self.solver.momentum == 0, "momentum", self.solver.momentum, f"0 for {self.solver.type}")


@OPTIMIZERS.register("Nesterov")
class Nesterov(_Plain):
    """v' = momentum * v + rate * g; w <- w - ((1 + momentum) * v' - momentum * v).

    Reference: Sutskever, Martens, Dahl, Hinton 2013, section 2.
    """

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (v,), momentum = history, float(self.solver.momentum)
        before = v.clone()
        v.mul_(momentum).add_(g, alpha=rate)
        return (v * (1 + momentum)).sub_(before, alpha=momentum)


@OPTIMIZERS.register("AdaGrad")
class AdaGrad(_Plain):
    """s <- s + g^2; w <- w - rate * g / (sqrt(s) + delta).

    Reference: Duchi, Hazan, Singer 2011.
    """

    @override
    def check(self) -> None:
        super().check()
        self._check_no_momentum()

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (s,) = history
        s.addcmul_(g, g)
        return g.div_(s.sqrt().add_(self.solver.delta)).mul_(rate)


@OPTIMIZERS.register("RMSProp")
class RMSProp(_Plain):
    """s <- rms_decay * s + (1 - rms_decay) * g^2; w <- w - rate * g / (sqrt(s) + delta).

    Reference: Tieleman, Hinton 2012, lecture 6.5.
    """

    @override
    def check(self) -> None:
        super().check()
        self._check_no_momentum()
        decay = self.solver.rms_decay
        _require(0 <= decay < 1, "rms_decay", decay, "at least 0 and less than 1")

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (s,), decay = history, self.solver.rms_decay
        s.mul_(decay).addcmul_(g, g, value=1 - decay)
        return g.div_(s.sqrt().add_(self.solver.delta)).mul_(rate)


@OPTIMIZERS.register("AdaDelta")
class AdaDelta(_Plain):
    """s <- momentum * s + (1 - momentum) * g^2; d = g * sqrt((u + delta) / (s + delta));
    u <- momentum * u + (1 - momentum) * d^2; w <- w - rate * d.

    Reference: Zeiler 2012, algorithm 1.
    """

    slots = 2

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (s, u), momentum, delta = history, self.solver.momentum, self.solver.delta
        s.mul_(momentum).addcmul_(g, g, value=1 - momentum)
        d = g.mul_(((u + delta) / (s + delta)).sqrt_())
        u.mul_(momentum).addcmul_(d, d, value=1 - momentum)
        return d.mul_(rate)


@OPTIMIZERS.register("Adam")
class Adam(_Plain):
    """m <- b1 * m + (1 - b1) * g; s <- b2 * s + (1 - b2) * g^2;
    w <- w - rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(s) + delta), b1 = momentum, b2 = momentum2.

    Reference: Kingma, Ba 2015, end of section 2.
    """

    slots = 2

    @override
    def check(self) -> None:
        super().check()
        for name in ("momentum", "momentum2"):
            value = getattr(self.solver, name)
            _require(0 <= value < 1, name, value, "at least 0 and less than 1 for Adam")

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (m, s), b1, b2 = history, self.solver.momentum, self.solver.momentum2
        m.mul_(b1).add_(g, alpha=1 - b1)
        s.mul_(b2).addcmul_(g, g, value=1 - b2)
        correction = math.sqrt(1 - b2 ** (iteration + 1)) / (1 - b1 ** (iteration + 1))
        return (m / s.sqrt().add_(self.solver.delta)).mul_(rate * correction)
