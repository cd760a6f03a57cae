"""The base class of layers: modules that define only their computation.

To add a layer type, write a class in the file of its family and register it::

    @LAYERS.register("TanH")
    class TanH(Layer):
        def forward(self, bottom):
            return torch.tanh(bottom)

Its output shapes are found by running it on the meta device, its gradient by autograd.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.fillers import fill
from demitasse.caffe.sizes import check_size, growth_bound
from demitasse.errors import NetError
from demitasse.registry import Registry

Shape = tuple[int, ...]
State = dict[str, Any]  # plain values for JSON
CountRange = tuple[int, int | None]

# if the bottoms have at most this number of entries, a layer is run on the CPU to find its top shapes
_SMALL = 1 << 22
# and if its tops have at most this number
_FEW = 1 << 26


class Layer(nn.Module):
    """One layer of a Caffe net.

    A subclass may override :meth:`setup`, which creates the blobs, and must define ``forward(*bottoms)``, which
    returns one tensor, or a tuple with one tensor for each top. ``self.training`` is true in phase TRAIN.

    Attributes:
        bottom_count: smallest and largest number of bottoms (None: no limit).
        top_count: smallest and largest number of tops. More tops than outputs of ``forward`` are an error.
        is_loss: whether the first top is part of the loss, with weight 1 unless the net sets ``loss_weight``.
        has_blobs: whether layers of this type have blobs; see :attr:`blob_names` for the blobs of one layer.
        in_place: whether a net may give the top the name of the bottom; the computation is the same.
        without_gradient: indices of bottoms such as labels and indices, which no gradient can go to.
        spec: the LayerParameter.
    """

    bottom_count: CountRange = (1, 1)
    top_count: CountRange = (1, 1)
    is_loss: ClassVar[bool] = False
    has_blobs: ClassVar[bool] = False
    in_place: ClassVar[bool] = False
    without_gradient: tuple[int, ...] = ()

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__()
        self.spec = spec
        self.blob_names: list[str] = []
        self._shared: dict[str, tuple[Tensor, Shape]] = {}

    def setup(self, *shapes: Shape) -> None:
        """Creates the blobs for bottoms of these shapes; called again when the shapes of the bottoms change.

        Raises:
            NetError: the shapes or the settings are invalid; the net adds the layer's name and place.
        """

    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        """Returns the shapes of the tops for bottoms of these shapes.

        The layer is run on the meta device, where tensors have shapes but no values. For small bottoms it is run on
        the CPU with zeros instead, which takes less time than loading torch's meta device. A layer whose shapes depend
        on the values overrides this to return their maximum; so does a layer that must not be run for this purpose.

        Raises:
            NetError: the layer cannot take such bottoms.
        """
        # an axis of 0 may be summed away, and the result may still be large
        count = sum(math.prod(max(size, 1) for size in shape) for shape in shapes)
        small = count <= _SMALL and count * growth_bound(self.spec) <= _FEW
        device = torch.device("cpu" if small else "meta")
        state = {name: tensor.to(device) for name, tensor in (*self.named_parameters(), *self.named_buffers())}
        training = self.training
        self.eval()
        bottoms = tuple(torch.zeros(shape, device=device) for shape in shapes)
        try:
            with torch.no_grad():
                result = torch.func.functional_call(self, state, bottoms)
        except (RuntimeError, IndexError, ValueError) as error:
            found = " and ".join(str(list(shape)) for shape in shapes)
            raise NetError(f"{self.spec.type} cannot take bottoms of shape {found}: {error}") from error
        finally:
            self.train(training)
        tops = (result,) if isinstance(result, Tensor) else result
        return [tuple(top.shape) for top in tops]

    def add_blob(
        self, name: str, shape: Shape, filler: schema.FillerParameter | None = None, learnable: bool = True
    ) -> None:
        """Adds ``self.<name>``, the next in Caffe's blob order; an existing blob is kept.

        Args:
            name: the attribute, such as ``weight``.
            shape: its shape.
            filler: the FillerParameter; None fills with 0.
            learnable: whether solvers update the blob (otherwise it is a buffer).

        Raises:
            NetError: the blob cannot be filled, is too large, or exists already with another shape.
        """
        if name in self.blob_names:
            self._keep(name, shape)
            return
        check_size(shape, f"blob {name!r}")
        value = self._zeros(name, shape) if filler is None else fill(filler, shape)
        if learnable:
            setattr(self, name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)
        self.blob_names.append(name)

    def _zeros(self, name: str, shape: Shape) -> Tensor:
        try:
            return torch.zeros(shape)
        except RuntimeError as error:
            raise NetError(f"blob {name!r} of shape {list(shape)} cannot be created: {error}") from error

    def _keep(self, name: str, shape: Shape) -> None:
        found = tuple(getattr(self, name).shape)
        if found != shape:
            raise NetError(f"blob {name!r} has shape {list(found)}, but the bottoms require {list(shape)}")

    def blobs(self) -> list[Tensor]:
        """Returns the blobs in Caffe's order, as in a caffemodel."""
        return [getattr(self, name) for name in self.blob_names]

    def share_blob(self, name: str, owner: Tensor) -> None:
        """Replaces a blob by the blob of another layer; if their shapes differ, this layer uses a reshaped view."""
        shape = tuple(getattr(self, name).shape)
        self._shared.pop(name, None)
        if owner.shape == shape and (isinstance(owner, nn.Parameter) or name in self._buffers):
            setattr(self, name, owner)
        else:
            self._parameters.pop(name, None)
            self._shared[name] = owner, shape

    def owner(self, name: str) -> Tensor:
        """Returns the tensor that stores a blob: the layer's own, or the tensor of the layer it is shared with."""
        if name in self._shared:
            return self._shared[name][0]
        found: Tensor = getattr(self, name)
        return found

    def write_blob(self, name: str, values: Tensor) -> None:
        """Copies values into a blob, which may be shared with another layer; the number of values must match."""
        target = self.owner(name)
        with torch.no_grad():
            target.copy_(values.reshape(target.shape))

    @override
    def __getattr__(self, name: str) -> Tensor | nn.Module:
        shared = self.__dict__.get("_shared", {})
        if name not in shared:
            return super().__getattr__(name)
        owner, shape = shared[name]
        view: Tensor = owner.reshape(shape)
        return view

    def free_masks(self) -> dict[str, Tensor]:
        """Returns name -> bool tensor for partly frozen blobs: True for the entries that a solver may change."""
        return {}

    def state(self) -> State:
        """Returns what a bit-identical resume needs in addition to the blobs, as plain values for JSON."""
        return {}

    def restore(self, state: State) -> None:
        """Restores a state returned by :meth:`state`."""


LAYERS: Registry[type[Layer]] = Registry("layer type")


def canonical_axis(axis: int, ndim: int, what: str = "axis") -> int:
    """Returns an axis counted from 0, for an axis that may be negative.

    Raises:
        NetError: there is no such axis.
    """
    if not -ndim <= axis < ndim:
        raise NetError(f"{what} {axis} is out of range for a bottom with {ndim} axes")
    return axis % ndim


def require_shape(layer: Layer, index: int, found: Shape, expected: Shape) -> None:
    """Checks the shape of bottom ``index``.

    Raises:
        NetError: the shape differs; the message has both shapes.
    """
    if found != expected:
        name = layer.spec.bottom[index]
        raise NetError(f"bottom {name!r} of {layer.spec.type} has shape {list(found)}, expected {list(expected)}")
