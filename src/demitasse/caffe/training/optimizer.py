"""The base class of Caffe's update rules, and their registry.

In each rule g is the gradient: clipped, averaged over iter_size, with the regulariser added. The learning rate is
inside the history, unlike in torch.optim. Reference: Caffe's solver page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from demitasse.caffe import log, schema
from demitasse.caffe.net import LearnableBlob, Net
from demitasse.errors import UsageError
from demitasse.registry import Registry


class UpdateStep(NamedTuple):
    """The settings of all updates of one iteration.

    Attributes:
        rate: the learning rate, before lr_mult.
        scale: factor of the gradients: clipping, and 1 / iter_size.
        iteration: the iteration, counted from 0.
    """

    rate: float
    scale: float
    iteration: int


class Optimizer(ABC):
    """Updates the learnable blobs of a net; blobs that are buffers (masks, statistics) are not changed.

    Frozen entries (``free_masks`` of the layers) keep their bits under every rule, and their history is 0. A blob
    without a gradient is treated as one with gradient 0.

    Args:
        net: the net in training.
        solver: the SolverParameter.

    Attributes:
        slots: the number of history tensors for each blob.
        history: the history tensors in the order of Caffe's solverstate: first slot of all blobs, then the second.

    Raises:
        UsageError: a setting is invalid for this solver type.
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
        """Raises UsageError if a setting is invalid."""
        require(self.solver.iter_size >= 1, "iter_size", self.solver.iter_size, "1 or more")
        kind = self.solver.regularization_type
        require(kind in ("L1", "L2"), "regularization_type", kind, "'L1' or 'L2'")

    @torch.no_grad()
    def step(self, rate: float, iteration: int) -> None:
        """Updates all blobs from their ``.grad``, the sum over ``iter_size`` passes.

        Args:
            rate: the learning rate of this iteration, before lr_mult.
            iteration: the iteration, counted from 0.
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
            blob: the blob, whose ``tensor`` is changed in place.
            history: its history tensors, changed in place.
            free: bool tensor, False for frozen entries; None if no entry is frozen.
            step: the settings of the iteration.
        """

    def on_update(self, blob: LearnableBlob, change: Tensor) -> None:  # noqa: B027 (only pycaffe overrides it)
        """Called with the value subtracted from a blob; does nothing here. pycaffe shows it in ``diff``, like Caffe."""

    def gradient(self, blob: LearnableBlob, step: UpdateStep) -> Tensor:
        """Returns a new tensor, the scaled gradient with the regulariser added."""
        weight = blob.tensor
        scaled = torch.zeros_like(weight) if weight.grad is None else weight.grad * step.scale
        penalty = torch.sign(weight) if self.solver.regularization_type == "L1" else weight
        return scaled.add_(penalty, alpha=self.decay(blob))

    def decay(self, blob: LearnableBlob) -> float:
        """Returns the weight decay of a blob."""
        return float(self.solver.weight_decay * blob.decay_mult)

    def _clip_scale(self) -> float:
        """Returns the factor that limits the norm of all gradients together to ``clip_gradients``."""
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


def require(condition: bool, field: str, found: object, expected: str) -> None:
    """Raises UsageError for a field of the solver if the condition does not hold."""
    if not condition:
        shown = f"{found:g}" if isinstance(found, float) else repr(found)
        raise UsageError(f"solver: {field} is {shown}; expected {expected}")


OPTIMIZERS: Registry[type[Optimizer]] = Registry("solver type")
