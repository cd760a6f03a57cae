"""Turns compressed layers into plain ones, with the weights that they compute with."""

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
    """Returns a net of plain layers with the weights that the layers of ``source`` compute with.

    Compressed convolutions and inner products become ordinary ones, and transposed weights are transposed back.
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
    """Changes ``spec`` to the plain form of ``layer``; returns the blobs that go with it."""
    if any(param.share_mode == schema.ParamSpec.PERMISSIVE for param in spec.param):
        del spec.param[:]  # other runtimes cannot share a blob under another shape
    if not isinstance(layer, _ROOTS):
        return layer.blobs()
    weight, bias = _effective(layer)
    kind = _plain_type(layer)
    transposed = isinstance(layer, InnerProduct) and layer.transpose
    if kind != spec.type or transposed:
        del spec.param[:]  # its weights are its own now, even where the stored ones are shared
    if transposed:
        spec.inner_product_param.transpose = False
        weight = weight.t()
    spec.type = kind
    return [value.detach().clone() for value in (weight, bias) if value is not None]


def _effective(layer: Convolution | InnerProduct) -> tuple[Tensor, Tensor | None]:
    training = layer.training
    layer.eval()  # in training, compressing layers would decide on masks
    try:
        with torch.no_grad():
            return layer.effective()
    finally:
        layer.train(training)


def _plain_type(layer: Layer) -> str:
    """Returns the type of the nearest base class that computes with the blobs that it stores."""
    names = {LAYERS[name]: name for name in LAYERS}
    for kind in type(layer).__mro__:
        effective = getattr(kind, "effective", None)
        if kind in names and effective in (Convolution.effective, InnerProduct.effective):
            return names[kind]
    raise NetError(f"{layer.spec.type} has no plain form")
