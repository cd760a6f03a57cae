"""The steps of forward and backward passes: one layer each, from blobs to blobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.blob import Blob
from demitasse.caffe.blob_memory import BlobMemory, Shape
from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.python import Python
from demitasse.caffe.sources import Source
from demitasse.errors import DemitasseError, NetError


class LayerStep:
    """Base of steps, which does nothing.

    Args:
        bottom: the bottoms of the layer.
        top: the tops of the layer.
        down: for each bottom, whether to compute its gradient.
        needed: whether the layer runs backward.
    """

    def __init__(self, bottom: Sequence[Blob], top: Sequence[Blob], down: list[bool], needed: bool) -> None:
        self.bottom, self.top, self.down, self.needed = bottom, top, down, needed

    def reshape(self) -> None:
        """Updates the shapes of the tops from those of the bottoms."""

    def forward(self, device: torch.device) -> None:
        """Computes the tops' values from the bottoms'."""

    def backward(self, device: torch.device) -> None:
        """Computes the bottoms' gradients from the tops', and accumulates those of the layer's own blobs."""


class SourceStep(LayerStep):
    """A data layer; tops that the caller feeds, and constant tops, are not changed."""

    def __init__(self, source: Source, top: Sequence[Blob]) -> None:
        super().__init__([], top, [], False)
        self._source = source
        constants = source.constants()
        for index, values in constants.items():
            top[index].put(values)
        self._changing = [index for index in range(len(top)) if index not in constants]

    @override
    def forward(self, device: torch.device) -> None:
        if not self._source.fed and self._changing:
            batch = self._source.next_batch()
            for index in self._changing:
                self.top[index].put(batch[index].to(device))


class PythonStep(LayerStep):
    """A user's layer in Python, which works on the blobs of the net directly."""

    def __init__(
        self, layer: Python, bottom: Sequence[Blob], top: Sequence[Blob], down: list[bool], needed: bool
    ) -> None:
        super().__init__(bottom, top, down, needed)
        self._layer = layer

    @override
    def reshape(self) -> None:
        self._layer.reshape_blobs(self.bottom, self.top)

    @override
    def forward(self, device: torch.device) -> None:
        self._layer.forward_blobs(self.bottom, self.top)

    @override
    def backward(self, device: torch.device) -> None:
        self._layer.backward_blobs(self.top, self.down, self.bottom)


Graph = tuple[list[Tensor], tuple[Tensor, ...]]


class TorchStep(LayerStep):
    """A layer with gradients by autograd; each layer has its own graph, from its bottoms to its tops."""

    def __init__(
        self, layer: Layer, bottom: Sequence[Blob], top: Sequence[Blob], down: list[bool], needed: bool
    ) -> None:
        super().__init__(bottom, top, down, needed)
        self._layer = layer
        self._own = [Blob.of_layer(layer, name) for name in layer.blob_names]
        self._bottom_shapes = self._shapes()
        self._top_shapes: list[Shape] | None = [blob.shape for blob in top]
        self._graph: Graph | None = None

    @property
    def own(self) -> list[Blob]:
        """The layer's own blobs."""
        return self._own

    def _shapes(self) -> list[Shape]:
        return [blob.shape for blob in self.bottom]

    @contextmanager
    def _fitted(self) -> Iterator[None]:
        """Sets the layer up again if the shapes of its bottoms have changed; then errors in the context name it."""
        shapes = self._shapes()
        if shapes == self._bottom_shapes:
            yield
            return
        try:
            self._layer.setup(*shapes)
            self._top_shapes = None
            yield
        except DemitasseError as error:
            raise error.within(f"layer {self._layer.spec.name!r}") from error
        except (RuntimeError, IndexError, ValueError) as error:
            raise NetError(f"layer {self._layer.spec.name!r} cannot take bottoms {shapes}: {error}") from error
        self._bottom_shapes = shapes

    @override
    def reshape(self) -> None:
        with self._fitted():
            told = self._top_shapes or self._layer.top_shapes(*self._shapes())
        for blob, shape in zip(self.top, told, strict=True):
            blob.reshape(*shape)
        self._top_shapes = told

    @override
    def forward(self, device: torch.device) -> None:
        for blob in self._own:
            blob.sync()
        keep = self.needed and torch.is_grad_enabled()
        with self._fitted():
            leaves, tops = self._run(device, keep)
        self._graph = (leaves, tops) if keep else None
        shown = _addresses((blob.values, leaf) for blob, leaf in zip(self.bottom, leaves, strict=True))
        for blob, top in zip(self.top, tops, strict=True):
            blob.put(_apart(top.detach(), shown))

    def _run(self, device: torch.device, keep: bool) -> Graph:
        leaves = []
        for blob, wanted in zip(self.bottom, self.down, strict=True):
            values = blob.values.tensor(device)
            if keep and blob in self.top and blob.values.is_shown:
                values = values.clone()  # autograd may need the values that will be overwritten
            leaves.append(values.requires_grad_(keep and wanted))
        with torch.set_grad_enabled(keep):
            result = self._layer(*leaves)
        return leaves, (result,) if isinstance(result, Tensor) else tuple(result)

    @override
    def backward(self, device: torch.device) -> None:
        leaves, tops = self._graph or self._replay(device)
        given = [
            (top, blob.gradient, blob.gradient.tensor(device))
            for top, blob in zip(tops, self.top, strict=True)
            if top.requires_grad
        ]
        wanted = [(leaf, blob) for leaf, blob in zip(leaves, self.bottom, strict=True) if leaf.requires_grad]
        learnt = [parameter for parameter in self._layer.parameters() if parameter.requires_grad]
        if not given or not (wanted or learnt):
            return
        found = torch.autograd.grad(
            [top for top, _, _ in given],
            [*(leaf for leaf, _ in wanted), *learnt],
            [gradient for _, _, gradient in given],
            retain_graph=True,
            allow_unused=True,
        )
        shown = _addresses((memory, gradient) for _, memory, gradient in given)
        for (_, blob), gradient in zip(wanted, found[: len(wanted)], strict=True):
            if gradient is not None:
                blob.gradient.put(_apart(gradient, shown))
        for blob in self._own:
            blob.sync()
        for parameter, gradient in zip(learnt, found[len(wanted) :], strict=True):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter, requires_grad=False)
            if gradient is not None:
                parameter.grad.add_(gradient)

    def _replay(self, device: torch.device) -> Graph:
        """Runs the layer only for its graph, and restores the state that a forward pass changes in the layer."""
        buffers, state = [(b, b.clone()) for b in self._layer.buffers()], self._layer.state()
        with torch.enable_grad(), self._fitted():
            self._graph = self._run(device, keep=True)
        for buffer, before in buffers:
            buffer.data.copy_(before)
        self._layer.restore(state)
        return self._graph


def _addresses(pairs: Iterable[tuple[BlobMemory, Tensor]]) -> set[int]:
    """Returns the addresses of tensors whose memory is shared with arrays."""
    return {tensor.untyped_storage().data_ptr() for memory, tensor in pairs if memory.is_shown}


def _apart(values: Tensor, shown: set[int]) -> Tensor:
    """Returns the values, copied if another blob's array shares their memory."""
    return values.clone() if shown and values.untyped_storage().data_ptr() in shown else values
