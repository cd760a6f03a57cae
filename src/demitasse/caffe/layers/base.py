"""What a layer is: a module that says only what it computes.

To add a layer type, write one class in the file of its family and register it::

    @LAYERS.register("TanH")
    class TanH(Layer):
        def forward(self, bottom):
            return torch.tanh(bottom)

Its output shapes come from running it on the meta device, its gradient from autograd.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.fillers import fill
from demitasse.caffe.sizes import check_size, growth_bound
from demitasse.errors import NetError
from demitasse.registry import Registry

Shape = tuple[int, ...]
CountRange = tuple[int, int | None]

# entries of the bottoms up to which a layer is really run to learn its top shapes
_SMALL = 1 << 22
# and entries that its tops may then have
_FEW = 1 << 26


class Layer(nn.Module):
    """One layer of a Caffe net.

    A subclass may override :meth:`setup`, which creates the blobs, and must define ``forward(*bottoms)``, which
    returns one tensor or a tuple of tensors, one a top. ``self.training`` is true in phase TRAIN.

    Attributes:
        bottom_count: least and greatest number of bottoms (None: no limit).
        top_count: likewise of tops. Tops beyond the outputs of ``forward`` are an error.
        is_loss: whether the first top counts into the loss with weight 1 unless the net says otherwise.
        has_blobs: whether layers of this type have blobs; see :attr:`blob_names` for those of one layer.
        in_place: whether a net may give the top the name of the bottom; what the layer computes is the same.
        without_gradient: the bottoms that are labels, indices or the like: no gradient can go to them.
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
        """Creates the blobs for bottoms of these shapes; called again where the bottoms get others.

        Raises:
            NetError: the shapes or the settings do not fit; the net adds the layer's name and place.
        """

    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        """Returns the shapes of the tops for bottoms of these shapes.

        They come from running the layer on the meta device, where tensors have shapes but no values. Small bottoms
        are computed really, as zeros: that takes less time than torch needs to load its meta device. A layer whose
        shapes depend on the values says here what they are at most; one that must not be run for it, what they are.

        Raises:
            NetError: the layer cannot take such bottoms.
        """
        # an axis of 0 may be summed away, and what is left may be large
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
        """Adds ``self.<name>``, the next in Caffe's blob order; one that is there already stays.

        Args:
            name: attribute, such as ``weight``.
            shape: its shape.
            filler: a FillerParameter; None fills with 0.
            learnable: whether solvers update it (else it is a buffer).

        Raises:
            NetError: it cannot be filled, would be too large, or is there already with another shape.
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
            raise NetError(f"blob {name!r} of shape {list(shape)} cannot be made: {error}") from error

    def _keep(self, name: str, shape: Shape) -> None:
        found = tuple(getattr(self, name).shape)
        if found != shape:
            raise NetError(f"its bottoms need a {name} of shape {list(shape)}, but it has one of {list(found)}")

    def blobs(self) -> list[Tensor]:
        """Returns the parameters in Caffe's order, as they stand in a caffemodel."""
        return [getattr(self, name) for name in self.blob_names]

    def share_blob(self, name: str, owner: Tensor) -> None:
        """Lets a blob be another layer's; where that one has another shape, this layer sees it in its own."""
        shape = tuple(getattr(self, name).shape)
        self._shared.pop(name, None)
        if owner.shape == shape and (isinstance(owner, nn.Parameter) or name in self._buffers):
            setattr(self, name, owner)
        else:
            self._parameters.pop(name, None)
            self._shared[name] = owner, shape

    def owner(self, name: str) -> Tensor:
        """Returns the tensor that holds a blob: the layer's own, or the other layer's that it shares."""
        if name in self._shared:
            return self._shared[name][0]
        found: Tensor = getattr(self, name)
        return found

    def write_blob(self, name: str, values: Tensor) -> None:
        """Copies values, as many as the blob has, into it or into the other layer's that it shares."""
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


def require_shape(layer: Layer, index: int, found: Shape, expected: Shape) -> None:
    """Checks the shape of bottom ``index``.

    Raises:
        NetError: it is another; says both.
    """
    if found != expected:
        name = layer.spec.bottom[index]
        raise NetError(f"bottom {name!r} of {layer.spec.type} has shape {list(found)}, expected {list(expected)}")
