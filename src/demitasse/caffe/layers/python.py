"""Python: a layer that runs a user's code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.blob import Blob
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.python_layer import PythonLayer, create_user_layer, user_code


@LAYERS.register("Python")
class Python(Layer):
    """Runs the class that ``python_param`` names; see :class:`demitasse.caffe.python_layer.PythonLayer`.

    Blobs: the blobs that the class adds in its ``setup``.

    Attributes:
        user: the instance of the user's class; None before ``setup``.
        bottom: blobs for the bottoms, which the class reads.
        top: blobs for the tops, which the class writes.
    """

    bottom_count = (0, None)
    top_count = (0, None)
    in_place = True

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.user: PythonLayer | None = None
        self.bottom: list[Blob] = []
        self.top: list[Blob] = []
        self._is_built = False

    @override
    def setup(self, *shapes: Shape) -> None:
        self.bottom = [Blob(*shape) for shape in shapes]
        in_place = dict(zip(self.spec.bottom, self.bottom, strict=True))
        tops = self.top or [Blob() for _ in self.spec.top]
        self.top = [in_place.get(name, blob) for name, blob in zip(self.spec.top, tops, strict=True)]
        if self.user is None:
            self.user = create_user_layer(self.spec)
            with self._user_code("setup"):
                self.user.setup(self.bottom, self.top)
            self._adopt(self.user)
        self.reshape_blobs(self.bottom, self.top)
        self._is_built = True

    def _adopt(self, user: PythonLayer) -> None:
        for index, blob in enumerate(user.blobs):
            name = f"blob{index}"
            self.register_parameter(name, nn.Parameter(torch.from_numpy(blob.data)))
            self.blob_names.append(name)
            blob.attach(self, name)

    @property
    def instance(self) -> PythonLayer:
        """The instance of the user's class, available after ``setup``."""
        assert self.user is not None
        return self.user

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [blob.shape for blob in self.top]

    def reshape_blobs(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Calls the user's ``reshape``, which sets the shapes of the tops."""
        with self._user_code("reshape"):
            self.instance.reshape(bottom, top)

    def forward_blobs(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Calls the user's ``forward``, which computes the tops' data from the bottoms'.

        Raises:
            PythonLayerError: the user's code raised an exception; the error is also an instance of its type.
        """
        self.reshape_blobs(bottom, top)
        with self._user_code("forward"):
            self.instance.forward(bottom, top)  # type: ignore[attr-defined]
        self._sync()

    def backward_blobs(self, top: Sequence[Blob], propagate_down: list[bool], bottom: Sequence[Blob]) -> None:
        """Calls the user's ``backward``, which computes the bottoms' and its own blobs' diff from the tops'.

        Raises:
            PythonLayerError: see :meth:`forward_blobs`.
        """
        with self._user_code("backward"):
            self.instance.backward(top, propagate_down, bottom)  # type: ignore[attr-defined]
        self._sync()

    def _sync(self) -> None:
        for blob in self.instance.blobs:
            blob.sync()

    def _user_code(self, method: str) -> AbstractContextManager[None]:
        # while the net is being built, the net adds the name of the layer
        layer, param = f"layer {self.spec.name!r}: " if self._is_built else "", self.spec.python_param
        return user_code(f"{layer}{param.module}.{param.layer}.{method}")

    @override
    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        tensors = (*bottoms, *self.blobs())
        if not self.top:
            _Call.run(self, bottoms)
            return ()
        result: tuple[Tensor, ...] = _Call.apply(self, len(bottoms), *tensors)  # type: ignore[no-untyped-call]
        return result


class _Call(torch.autograd.Function):
    """Runs the user's forward and backward on the layer's blobs; the user's code writes its own blobs' gradients."""

    @staticmethod
    def run(layer: Python, bottoms: Sequence[Tensor]) -> None:
        for blob, values in zip(layer.bottom, bottoms, strict=True):
            blob.put(values.detach())
        layer.forward_blobs(layer.bottom, layer.top)

    @staticmethod
    @override
    def forward(ctx: Any, layer: Python, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.layer, ctx.count = layer, count
        ctx.device = tensors[0].device if tensors else torch.device("cpu")
        _Call.run(layer, tensors[:count])
        return tuple(blob.values.tensor(ctx.device).clone() for blob in layer.top)

    @staticmethod
    @once_differentiable
    @override
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        layer: Python = ctx.layer
        for blob, gradient in zip(layer.top, gradients, strict=True):
            blob.gradient.put(gradient)
        down = list(ctx.needs_input_grad[2 : 2 + ctx.count])
        layer.backward_blobs(layer.top, down, layer.bottom)
        found = [
            blob.gradient.tensor(ctx.device).clone() if needed else None
            for blob, needed in zip(layer.bottom, down, strict=True)
        ]
        return None, None, *found, *(None for _ in layer.blob_names)
