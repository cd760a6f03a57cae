"""The layer types, one family a file. Importing this package registers them all."""

from demitasse.caffe.layers import (
    activation,
    convolution,
    dropout,
    eltwise,
    incremental,
    inner_product,
    loss,
    normalization,
    pooling,
    python,
    ranking,
    reduction,
    scale,
    shape,
    softmax,
    surgery,
)
from demitasse.caffe.layers.base import LAYERS, Layer, Shape

__all__ = ["LAYERS", "Layer", "Shape"]

_FAMILIES = (
    activation,
    convolution,
    dropout,
    eltwise,
    incremental,
    inner_product,
    loss,
    normalization,
    pooling,
    python,
    ranking,
    reduction,
    scale,
    shape,
    softmax,
    surgery,
)
