"""Parameter: outputs a learnt blob as its top."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.errors import NetError


@LAYERS.register("Parameter")
class Parameter(Layer):
    """Outputs its only blob.

    Blobs: weight of the shape in ``parameter_param``; 0 until weights are loaded, since Caffe has no filler for it.
    """

    bottom_count = (0, 0)
    has_blobs = True
    weight: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        shape = tuple(self.spec.parameter_param.shape.dim)
        if not self.spec.parameter_param.HasField("shape") or min(shape, default=1) <= 0:
            raise NetError(f"the shape in parameter_param is {list(shape)}; expected positive sizes")
        self.add_blob("weight", shape)

    @override
    def forward(self) -> Tensor:
        return self.weight
