"""What a layer is: a module that says only what it computes.

To add a layer type, write one class in the file of its family and register it::

    @LAYERS.register("TanH")
    class TanH(Layer):
        def forward(self, bottom):
            return torch.tanh(bottom)

Its output shapes come from running it on the meta device, its gradient from autograd.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from demitasse.caffe import schema
from demitasse.caffe.fillers import fill
from demitasse.errors import NetError
from demitasse.registry import Registry

Shape = tuple[int, ...]


class Layer(nn.Module):
    """One layer of a Caffe net.

    A subclass may override :meth:`setup`, which creates the blobs, and must define ``forward(*bottoms)``, which
    returns one tensor or a tuple of tensors, one a top. ``self.training`` is true in phase TRAIN.

    Attributes:
        bottom_count: least and greatest number of bottoms (None: no limit).
        top_count: likewise of tops. Tops beyond the outputs of ``forward`` are an error.
        is_loss: whether the first top counts into the loss with weight 1 unless the net says otherwise.
        spec: the LayerParameter.
    """

    bottom_count: ClassVar[tuple[int, int | None]] = (1, 1)
    top_count: ClassVar[tuple[int, int | None]] = (1, 1)
    is_loss: ClassVar[bool] = False

    def __init__(self, spec: schema.Message) -> None:
        super().__init__()
        self.spec = spec
        self.blob_names: list[str] = []

    def setup(self, *shapes: Shape) -> None:
        """Creates the blobs for bottoms of these shapes; called again where the bottoms get others.

        Raises:
            NetError: the shapes or the settings do not fit; the net adds the layer's name and place.
        """

    def told_shapes(self) -> list[Shape] | None:
        """Returns the shapes of the tops where running the layer to see them would do harm; None: run it."""
        return None

    def add_blob(self, name: str, shape: Shape, filler: schema.Message = None, learnable: bool = True) -> None:
        """Adds ``self.<name>``, the next in Caffe's blob order; one that is there already stays.

        Args:
            name: attribute, such as ``weight``.
            shape: its shape.
            filler: a FillerParameter; None fills with 0.
            learnable: whether solvers update it (else it is a buffer).

        Raises:
            NetError: it is there already, with another shape.
        """
        if name in self.blob_names:
            self._keep(name, shape)
            return
        value = torch.zeros(shape) if filler is None else fill(filler, shape)
        if learnable:
            setattr(self, name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)
        self.blob_names.append(name)

    def _keep(self, name: str, shape: Shape) -> None:
        found = tuple(getattr(self, name).shape)
        if found != shape:
            raise NetError(f"its bottoms need a {name} of shape {list(shape)}, but it has one of {list(found)}")

    def blobs(self) -> list[Tensor]:
        """Returns the parameters in Caffe's order, as they stand in a caffemodel."""
        return [getattr(self, name) for name in self.blob_names]

    def free_masks(self) -> dict[str, Tensor]:
        """Returns for blobs that are partly frozen where a solver may change them: name -> bool tensor."""
        return {}

    def state(self) -> dict[str, object]:
        """Returns what a bit-identical resume needs beyond the blobs, as plain values for JSON."""
        return {}

    def restore(self, state: dict[str, object]) -> None:
        """Takes back what :meth:`state` returned."""


LAYERS: Registry[type[Layer]] = Registry("layer type")


def canonical_axis(axis: int, ndim: int, what: str = "axis") -> int:
    """Returns a possibly negative axis counted from 0.

    Raises:
        NetError: there is no such axis.
    """
    if not -ndim <= axis < ndim:
        raise NetError(f"{what} {axis} is out of range for a bottom with {ndim} axes")
    return axis % ndim
