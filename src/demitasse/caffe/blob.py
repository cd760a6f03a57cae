"""Blobs as Caffe's Python interface shows them: values and gradients as numpy arrays over torch's memory."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import NetError

Shape = tuple[int, ...]
Array = NDArray[np.float32]


class BlobMemory(Protocol):
    """Values that torch computes with and numpy looks at."""

    @property
    def shape(self) -> Shape:
        """The shape of the values."""

    @property
    def is_shown(self) -> bool:
        """Whether the values lie in memory that an array shows."""

    def array(self) -> Array:
        """Returns the values as a float32 array in C order; what is written to it is computed with."""

    def tensor(self, device: torch.device) -> Tensor:
        """Returns the values on a device, without a history of autograd."""

    def put(self, values: Tensor) -> None:
        """Takes new values of the same shape."""

    def reshape(self, shape: Shape) -> None:
        """Changes the shape; as many values as fit stay."""


class OwnMemory:
    """Memory of a blob that layers make.

    Until an array is asked for, this is a reference to the tensor last put in, which costs nothing. The first
    array gets memory of its own, which stays until the shape changes: tensors are copied into it. From a GPU they
    are copied when the array is asked for again.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._current = torch.zeros(()).expand(shape)
        self._host: Tensor | None = None

    @property
    def shape(self) -> Shape:
        """See :class:`BlobMemory`."""
        return self._shape

    @property
    def is_shown(self) -> bool:
        """See :class:`BlobMemory`."""
        return self._current is self._host

    def array(self) -> Array:
        """See :class:`BlobMemory`."""
        if self._host is None:
            self._host = torch.empty(self._current.shape).copy_(self._current)
        elif self._current is not self._host:
            self._host.copy_(self._current)
        self._current = self._host
        return self._host.numpy()

    def tensor(self, device: torch.device) -> Tensor:
        """See :class:`BlobMemory`."""
        # its own version counter: writing a blob between the passes is the caller's right
        return self._current.data if self._current.device == device else self._current.to(device)

    def put(self, values: Tensor) -> None:
        """See :class:`BlobMemory`."""
        if self._host is not None and values.device.type == "cpu":
            self._host.copy_(values)
            self._current = self._host
        else:
            self._current = values

    def reshape(self, shape: Shape) -> None:
        """See :class:`BlobMemory`."""
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


class _LayerMemory:
    """Memory of one of a layer's blobs: the layer's tensor itself, whichever it is at that moment.

    Where numpy cannot look at the tensor (on a GPU, or a mask of bools), an array is a copy, and what is written to
    it is taken over before the next pass.
    """

    def __init__(self, layer: nn.Module, name: str) -> None:
        self._layer, self._name = layer, name
        self._host: Tensor | None = None
        self._pending = False

    def target(self) -> Tensor:
        """Returns the tensor that holds the values."""
        found: Tensor = getattr(self._layer, self._name)
        return found.data

    @property
    def shape(self) -> Shape:
        """See :class:`BlobMemory`."""
        return tuple(getattr(self._layer, self._name).shape)

    @property
    def is_shown(self) -> bool:
        """See :class:`BlobMemory`."""
        return True

    def array(self) -> Array:
        """See :class:`BlobMemory`."""
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
        """Takes over what was written to an array that is a copy."""
        if self._pending and self._host is not None:
            self.target().copy_(self._host)
            self._pending = False

    def tensor(self, device: torch.device) -> Tensor:
        """See :class:`BlobMemory`."""
        self.sync()
        return self.target().to(device)

    def put(self, values: Tensor) -> None:
        """See :class:`BlobMemory`."""
        self._pending = False
        self.target().copy_(values)

    def reshape(self, shape: Shape) -> None:
        """A layer's blob keeps its shape: raises NetError for another one."""
        if shape != self.shape:
            raise NetError(f"blob {self._name!r} of a layer has shape {list(self.shape)}; it cannot become {shape}")


class _LayerGradientMemory(_LayerMemory):
    """The gradient of one of a layer's blobs: its ``grad``, or zeros beside a blob that cannot have one."""

    def __init__(self, layer: nn.Module, name: str) -> None:
        super().__init__(layer, name)
        self._beside: Tensor | None = None

    @override
    def target(self) -> Tensor:
        """See :class:`_LayerMemory`."""
        values: Tensor = getattr(self._layer, self._name)
        if not isinstance(values, nn.Parameter):
            if self._beside is None:
                self._beside = torch.zeros(values.shape)
            return self._beside
        if values.grad is None:
            values.grad = torch.zeros_like(values, requires_grad=False)
        return values.grad


class Blob:
    """Values (``data``) and gradient (``diff``) of one shape.

    Args:
        shape: its sizes, as in ``Blob(2, 3)``.
    """

    def __init__(self, *shape: int) -> None:
        self.values: BlobMemory = OwnMemory(shape)
        self.gradient: BlobMemory = OwnMemory(shape)

    @classmethod
    def of_layer(cls, layer: nn.Module, name: str) -> Blob:
        """Returns a blob that shows ``layer.<name>`` and its gradient."""
        blob = cls()
        blob.attach(layer, name)
        return blob

    def attach(self, layer: nn.Module, name: str) -> None:
        """From now on shows ``layer.<name>`` and its gradient."""
        self.values, self.gradient = _LayerMemory(layer, name), _LayerGradientMemory(layer, name)

    def put(self, values: Tensor) -> None:
        """Takes new values, and their shape."""
        if values.shape != self.values.shape:
            self.reshape(*values.shape)
        self.values.put(values)

    def sync(self) -> None:
        """Takes over what was written to arrays that are copies; see :class:`_LayerMemory`."""
        for memory in (self.values, self.gradient):
            if isinstance(memory, _LayerMemory):
                memory.sync()

    @property
    def data(self) -> Array:
        """The values: float32 in C order, the same memory until the shape changes."""
        return self.values.array()

    @property
    def diff(self) -> Array:
        """The gradient, like ``data``."""
        return self.gradient.array()

    def reshape(self, *shape: int) -> None:
        """Changes the shape; as many values as fit stay.

        Raises:
            NetError: the blob belongs to a layer, or a size is negative.
        """
        sizes = tuple(int(size) for size in shape)
        if min(sizes, default=0) < 0:
            raise NetError(f"a blob cannot have shape {list(sizes)}")
        if sizes != self.shape:
            self.values.reshape(sizes)
            self.gradient.reshape(sizes)

    @property
    def shape(self) -> Shape:
        """The sizes of the axes."""
        return self.values.shape

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise NetError(f"num, channels, height and width are for up to four axes, found shape {list(self.shape)}")
        return self.shape[axis] if axis < len(self.shape) else 1

    @property
    def num(self) -> int:
        """The size of axis 0; 1 where there is none, as for the three below."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """The size of axis 1."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """The size of axis 2."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """The size of axis 3."""
        return self._legacy(3)


class BlobVec(list[Blob]):
    """The blobs of a layer."""

    def add_blob(self, *shape: int) -> None:
        """Adds a blob of zeros of this shape."""
        self.append(Blob(*shape))
