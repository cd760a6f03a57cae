"""Blobs of Caffe's Python interface: values and gradients as numpy arrays that share torch's memory."""

from __future__ import annotations

import math

from torch import Tensor, nn

from demitasse.caffe.blob_memory import Array, BlobMemory, LayerGradientMemory, LayerMemory, OwnMemory, Shape
from demitasse.errors import NetError


class Blob:
    """Values (``data``) and gradient (``diff``) of one shape.

    Args:
        shape: the sizes of the axes, as in ``Blob(2, 3)``.
    """

    def __init__(self, *shape: int) -> None:
        self.values: BlobMemory = OwnMemory(shape)
        self.gradient: BlobMemory = OwnMemory(shape)

    @classmethod
    def of_layer(cls, layer: nn.Module, name: str) -> Blob:
        """Returns a blob for ``layer.<name>`` and its gradient."""
        blob = cls()
        blob.attach(layer, name)
        return blob

    def attach(self, layer: nn.Module, name: str) -> None:
        """Makes this a blob for ``layer.<name>`` and its gradient."""
        self.values, self.gradient = LayerMemory(layer, name), LayerGradientMemory(layer, name)

    def put(self, values: Tensor) -> None:
        """Sets new values, and their shape."""
        if values.shape != self.values.shape:
            self.reshape(*values.shape)
        self.values.put(values)

    def sync(self) -> None:
        """Copies back what was written to arrays that are copies: of masks, and of tensors on a GPU."""
        for memory in (self.values, self.gradient):
            if isinstance(memory, LayerMemory):
                memory.sync()

    @property
    def data(self) -> Array:
        """The values: float32 in C order, in the same memory until the shape changes."""
        return self.values.array()

    @property
    def diff(self) -> Array:
        """The gradient, like ``data``."""
        return self.gradient.array()

    def reshape(self, *shape: int) -> None:
        """Changes the shape, and keeps as many values as fit.

        Raises:
            NetError: the blob belongs to a layer, or a size is negative.
        """
        sizes = tuple(int(size) for size in shape)
        if min(sizes, default=0) < 0:
            raise NetError(f"a blob cannot have the shape {list(sizes)}; expected sizes of 0 or more")
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
            raise NetError(
                f"the blob has shape {list(self.shape)}; num, channels, height and width need at most four axes"
            )
        return self.shape[axis] if axis < len(self.shape) else 1

    @property
    def num(self) -> int:
        """The size of axis 0; like the three below, 1 if there is no such axis."""
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
        """Appends a blob of zeros with this shape."""
        self.append(Blob(*shape))
