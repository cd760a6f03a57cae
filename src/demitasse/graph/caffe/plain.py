"""Compressed layers as plain ones, with the values that they effectively compute with."""

from __future__ import annotations

import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.layers import LAYERS, Layer
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.net import Net
from demitasse.errors import NetError

_ROOTS = (Convolution, InnerProduct)


def plain(definition: schema.NetParameter, source: Net) -> Net:
    """Returns a net of plain layers with the values that the layers of ``source`` effectively compute with.

    Compressed convolutions and inner products become ordinary ones; transposed weights stand as others do.
    """
    net = schema.NetParameter.FromString(definition.SerializeToString())
    known = source.named_layers()
    values = {}
    for spec in net.layer:
        if spec.name in known:
            values[spec.name] = _plain(spec, known[spec.name])
    result = Net(net)
    for name, tensors in values.items():
        layer = result.layer(name)
        for blob, value in zip(layer.blob_names, tensors, strict=True):
            layer.write_blob(blob, value)
    return result


def _plain(spec: schema.LayerParameter, layer: Layer) -> list[Tensor]:
    """Changes ``spec`` to the plain form of ``layer``, and returns its blobs."""
    if any(param.share_mode == schema.ParamSpec.PERMISSIVE for param in spec.param):
        del spec.param[:]  # shared under another shape, which other runtimes have no word for
    if not isinstance(layer, _ROOTS):
        return layer.blobs()
    weight, bias = _effective(layer)
    kind = _plain_type(layer)
    transposed = isinstance(layer, InnerProduct) and layer.transpose
    if kind != spec.type or transposed:
        del spec.param[:]  # values of its own, even where the stored ones are shared
    if transposed:
        spec.inner_product_param.transpose = False
        weight = weight.t()
    spec.type = kind
    return [value.detach().clone() for value in (weight, bias) if value is not None]


def _effective(layer: Convolution | InnerProduct) -> tuple[Tensor, Tensor | None]:
    training = layer.training
    layer.eval()  # in training, layers under compression would take a step
    try:
        with torch.no_grad():
            return layer.effective()
    finally:
        layer.train(training)


def _plain_type(layer: Layer) -> str:
    """Returns the type of the nearest layer in the class's ancestry that computes with what it stores."""
    names = {LAYERS[name]: name for name in LAYERS}
    for kind in type(layer).__mro__:
        effective = getattr(kind, "effective", None)
        if kind in names and effective in (Convolution.effective, InnerProduct.effective):
            return names[kind]
    raise NetError(f"{layer.spec.type} has no plain form")
