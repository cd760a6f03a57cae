"""What follows a layer and takes up a factor and a shift of each of its outputs.

A kind of module is a class here, or in another room, which registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from demitasse.registry import Registry


class Absorber(ABC):
    """A module that gets ``y'``, with ``y = factor * y' + shift`` to be what it got before.

    Args:
        module: a module that matches.
    """

    has_shift = True

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    @classmethod
    @abstractmethod
    def matches(cls, module: nn.Module) -> bool:
        """Returns whether this is the absorber of a module in evaluation."""

    @property
    @abstractmethod
    def tensors(self) -> Sequence[Tensor]:
        """What :meth:`absorb` changes."""

    @abstractmethod
    def absorb(self, factor: Tensor, shift: Tensor) -> None:
        """Makes the module compute from ``y'`` what it computed from ``y``.

        Args:
            factor: (channels,), positive, float64.
            shift: (channels,), float64; zeros where ``has_shift`` is False.
        """


ABSORBERS: Registry[type[Absorber]] = Registry("absorber")


def absorber_of(module: nn.Module) -> Absorber | None:
    """Returns the absorber of a module; None if it is of no known kind."""
    return next((ABSORBERS[name](module) for name in ABSORBERS if ABSORBERS[name].matches(module)), None)


@torch.no_grad()
def absorb_in_statistics(mean: Tensor, variance: Tensor, eps: float, factor: Tensor, shift: Tensor) -> None:
    """Changes the statistics of a normalization, (y - mean) / sqrt(variance + eps), in place.

    A channel whose variance would be negative, since its factor is large and its variance near 0, gets 0.
    """
    mean.copy_((mean - shift) / factor)
    variance.copy_(((variance + eps) / factor.square() - eps).clamp(min=0))


@ABSORBERS.register("batch normalization")
class BatchNormAbsorber(Absorber):
    """A batch normalization of PyTorch with statistics."""

    @property
    def layer(self) -> _BatchNorm:
        """The layer."""
        assert isinstance(self.module, _BatchNorm)
        return self.module

    @classmethod
    @override
    def matches(cls, module: nn.Module) -> bool:
        return isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None

    @property
    @override
    def tensors(self) -> Sequence[Tensor]:
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        return self.layer.running_mean, self.layer.running_var

    @override
    def absorb(self, factor: Tensor, shift: Tensor) -> None:
        mean, variance = self.tensors
        absorb_in_statistics(mean, variance, self.layer.eps, factor, shift)
