"""Caffe's update rules, one for each solver type; see :mod:`demitasse.caffe.training.optimizer` for g and rates.

Reference: Caffe's solver page, and the papers named at the classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from torch import Tensor
from typing_extensions import override

from demitasse.caffe.net import LearnableBlob
from demitasse.caffe.training.optimizer import OPTIMIZERS as OPTIMIZERS
from demitasse.caffe.training.optimizer import Optimizer as Optimizer
from demitasse.caffe.training.optimizer import UpdateStep, require
from demitasse.methods import fused, lars


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

    As in the original, ``lr_mult`` is not used, and ``decay_mult`` is not applied to ``weight_decay`` in the formula.

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
    """Base of rules that are written in terms of g, with torch's operations."""

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
        """Returns a new tensor, the value to subtract from the weight, and updates the history in place."""

    def _check_no_momentum(self) -> None:
        require(self.solver.momentum == 0, "momentum", self.solver.momentum, f"0 for {self.solver.type}")


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
        require(0 <= decay < 1, "rms_decay", decay, "at least 0 and less than 1")

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (s,), decay = history, self.solver.rms_decay
        s.mul_(decay).addcmul_(g, g, value=1 - decay)
        return g.div_(s.sqrt().add_(self.solver.delta)).mul_(rate)


@OPTIMIZERS.register("AdaDelta")
class AdaDelta(_Plain):
    """w <- w - rate * d, d = g * sqrt((u + delta) / (s + delta)).

    Before, s <- momentum * s + (1 - momentum) * g^2; after, u <- momentum * u + (1 - momentum) * d^2.

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
    """w <- w - rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(s) + delta), b1 = momentum, b2 = momentum2.

    Before, m <- b1 * m + (1 - b1) * g; s <- b2 * s + (1 - b2) * g^2. t is the iteration, counted from 1.

    Reference: Kingma, Ba 2015, end of section 2.
    """

    slots = 2

    @override
    def check(self) -> None:
        super().check()
        for name in ("momentum", "momentum2"):
            value = getattr(self.solver, name)
            require(0 <= value < 1, name, value, "at least 0 and less than 1 for Adam")

    @override
    def change(self, g: Tensor, history: list[Tensor], rate: float, iteration: int) -> Tensor:
        (m, s), b1, b2 = history, self.solver.momentum, self.solver.momentum2
        m.mul_(b1).add_(g, alpha=1 - b1)
        s.mul_(b2).addcmul_(g, g, value=1 - b2)
        correction = math.sqrt(1 - b2 ** (iteration + 1)) / (1 - b1 ** (iteration + 1))
        return (m / s.sqrt().add_(self.solver.delta)).mul_(rate * correction)
