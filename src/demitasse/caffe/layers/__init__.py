"""The layer types, one family a file. Importing this package registers them all."""

from demitasse.caffe.layers import (
    activation,
    __X__,
    convolution,
    dropout,
    eltwise,
    inner_product,
    loss,
    normalization,
    pooling,
    ranking,
    reduction,
    scale,
    shape,
    softmax,
)
from demitasse.caffe.layers.base import LAYERS, Layer, Shape

__all__ = ["LAYERS", "Layer", "Shape"]

_FAMILIES = (
    activation,
    __X__,
    convolution,
    dropout,
    eltwise,
    inner_product,
    loss,
    normalization,
    pooling,
    ranking,
    reduction,
    scale,
    shape,
    softmax,
)
