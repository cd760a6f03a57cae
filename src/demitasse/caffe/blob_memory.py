"""The memory of blobs: values that torch computes with and numpy arrays share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import NetError

Shape = tuple[int, ...]
Array = NDArray[np.float32]


class BlobMemory(ABC):
    """Values that torch computes with and numpy accesses."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """The shape of the values."""

    @property
    @abstractmethod
    def is_shown(self) -> bool:
        """Whether an array shares the memory of the current values."""

    @abstractmethod
    def array(self) -> Array:
        """Returns the values as a float32 array in C order; layers see what is written to it."""

    @abstractmethod
    def tensor(self, device: torch.device) -> Tensor:
        """Returns the values on a device, detached from autograd."""

    @abstractmethod
    def put(self, values: Tensor) -> None:
        """Sets new values of the same shape."""

    @abstractmethod
    def reshape(self, shape: Shape) -> None:
        """Changes the shape, and keeps as many values as fit."""


class OwnMemory(BlobMemory):
    """Memory of a blob that layers compute.

    Until an array is requested, it only refers to the last tensor. The first array gets its own memory, which is kept
    until the shape changes; tensors are copied into it. Tensors on a GPU are copied when the array is requested again.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._current = torch.zeros(()).expand(shape)
        self._host: Tensor | None = None

    @property
    @override
    def shape(self) -> Shape:
        return self._shape

    @property
    @override
    def is_shown(self) -> bool:
        return self._current is self._host

    @override
    def array(self) -> Array:
        if self._host is None:
            self._host = torch.empty(self._current.shape).copy_(self._current)
        elif self._current is not self._host:
            self._host.copy_(self._current)
        self._current = self._host
        return self._host.numpy()

    @override
    def tensor(self, device: torch.device) -> Tensor:
        # .data has its own version counter, since the caller may write a blob between the passes
        return self._current.data if self._current.device == device else self._current.to(device)

    @override
    def put(self, values: Tensor) -> None:
        if self._host is not None and values.device.type == "cpu":
            self._host.copy_(values)
            self._current = self._host
        else:
            self._current = values

    @override
    def reshape(self, shape: Shape) -> None:
        self._shape = shape
        if math.prod(shape) == self._current.numel():
            shown = self.is_shown
            self._host = None if self._host is None else self._host.view(shape)
            self._current = self._host if shown and self._host is not None else self._current.reshape(shape)
            return
        before = self._current.flatten()
        count = min(len(before), math.prod(shape))
        self._current, self._host = torch.zeros(shape), None
        self._current.view(-1)[:count] = before[:count]


class LayerMemory(BlobMemory):
    """Memory of one of a layer's blobs: the layer's current tensor.

    If numpy cannot access the tensor (on a GPU, or a mask of bools), the array is a copy, and values written to it are
    copied back before the next pass.
    """

    def __init__(self, layer: nn.Module, name: str) -> None:
        self._layer, self._name = layer, name
        self._host: Tensor | None = None
        self._pending = False

    def target(self) -> Tensor:
        """Returns the tensor with the values."""
        found: Tensor = getattr(self._layer, self._name)
        return found.data

    @property
    @override
    def shape(self) -> Shape:
        return tuple(getattr(self._layer, self._name).shape)

    @property
    @override
    def is_shown(self) -> bool:
        return True

    @override
    def array(self) -> Array:
        target = self.target()
        if target.device.type == "cpu" and target.dtype == torch.float32 and target.is_contiguous():
            return target.numpy()
        self.sync()
        if self._host is None:
            self._host = torch.empty(target.shape)
        self._host.copy_(target)
        self._pending = True
        return self._host.numpy()

    def sync(self) -> None:
        """Copies back what was written to an array that is a copy."""
        if self._pending and self._host is not None:
            self.target().copy_(self._host)
            self._pending = False

    @override
    def tensor(self, device: torch.device) -> Tensor:
        self.sync()
        return self.target().to(device)

    @override
    def put(self, values: Tensor) -> None:
        self._pending = False
        self.target().copy_(values)

    @override
    def reshape(self, shape: Shape) -> None:
        """Raises NetError for another shape, since the blobs of a layer keep their shape."""
        if shape != self.shape:
            raise NetError(f"blob {self._name!r} of a layer has shape {list(self.shape)}; it cannot become {shape}")


class LayerGradientMemory(LayerMemory):
    """The gradient of one of a layer's blobs: its ``grad``, or separate zeros for a blob that cannot have one."""

    def __init__(self, layer: nn.Module, name: str) -> None:
        super().__init__(layer, name)
        self._beside: Tensor | None = None

    @override
    def target(self) -> Tensor:
        values: Tensor = getattr(self._layer, self._name)
        if not isinstance(values, nn.Parameter):
            if self._beside is None:
                self._beside = torch.zeros(values.shape)
            return self._beside
        if values.grad is None:
            values.grad = torch.zeros_like(values, requires_grad=False)
        return values.grad
