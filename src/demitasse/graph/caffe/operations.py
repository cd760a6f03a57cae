"""What a Caffe layer computes, as plain data: the kind of the operation, its settings, and its weights.

A layer type without an entry in :data:`SETTINGS` is an operation of that kind without settings: its layer computes it,
and a writer that knows the kind may ask the layer, which is the ``call`` of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.activation import ReLU6
from demitasse.caffe.layers.bn import BN
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.deconvolution import Deconvolution
from demitasse.caffe.layers.dropout import SpatialDropout
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.layers.pooling import Pooling
from demitasse.caffe.layers.proposal import RegionProposal
from demitasse.caffe.layers.spp import SPP
from demitasse.caffe.layers.text_proposal import TextProposals

# kind -> the attributes of its layer that say how it computes, with the same names in the settings
SETTINGS: dict[str, tuple[str, ...]] = {
    "ArgMax": ("axis", "top_k", "with_scores"),
    "Bias": ("expanded",),
    "Clip": ("min", "max"),
    "Concat": ("axis",),
    "Crop": ("axis", "offset"),
    "DetectionOutput": (
        *("background", "classes", "clips", "code", "eta", "keep_top_k", "least", "normalized", "shares"),
        *("threshold", "top_k"),
    ),
    "Dropout": ("ratio", "samples", "factor"),
    "ELU": ("alpha",),
    "Eltwise": ("operation", "coeff"),
    "Exp": ("scale", "shift"),
    "Flatten": ("axis", "end_axis"),
    "Interp": ("crop", "plane"),
    "LRN": ("size", "alpha", "beta", "k", "across"),
    "LSTM": ("units", "has_static", "exposes"),
    "Log": ("scale", "shift", "factor"),
    "MVN": ("axes", "divides", "eps"),
    "Normalize": ("across", "eps"),
    "Permute": ("order",),
    "Pooling": ("method", "plane", "kernel", "stride", "pad", "ceil_mode", "margin", "sizes"),
    "Power": ("power", "scale", "shift"),
    "Proposal": ("after", "anchors", "before", "min_size", "stride", "threshold"),
    "RNN": ("units", "has_static", "exposes"),
    "ROIPooling": ("pooled", "scale"),
    "ReLU": ("slope",),
    "ReLU6": ("slope",),
    "Reduction": ("axis", "operation", "coeff"),
    "Reshape": ("dims", "start", "end"),
    "Reverse": ("axis",),
    "Scale": ("expanded",),
    "ShuffleChannel": ("group",),
    "Slice": ("axis", "sizes"),
    "Softmax": ("axis",),
    "SpatialDropout": ("ratio",),
    "Swish": ("beta",),
    "Threshold": ("threshold",),
    "Tile": ("axis", "tiles"),
    "Transpose": ("order",),
    "Upsample": ("has_mask", "plane", "scale"),
    "YoloDetectionOutput": ("inclusive", "least", "threshold"),
    "Yolov3DetectionOutput": ("inclusive", "least", "threshold"),
}


class Operation(NamedTuple):
    """What a layer computes; see :class:`demitasse.graph.Step` for the parts."""

    kind: str
    settings: SimpleNamespace
    weights: dict[str, Tensor]


@torch.no_grad()
def operation(layer: Layer) -> Operation:
    """Returns the operation of a layer; one that trains is of a kind of its own, which only its layer computes."""
    kind = layer.spec.type
    if layer.training:
        return Operation(f"{kind} in training", SimpleNamespace(), {})
    for base, read in _READERS.items():
        if isinstance(layer, base):
            return read(layer)
    weights = dict(zip(layer.blob_names, (blob.detach() for blob in layer.blobs()), strict=True))
    return Operation(kind, _settings(kind, layer), weights)


def _settings(kind: str, layer: Layer) -> SimpleNamespace:
    return SimpleNamespace(**{name: getattr(layer, name) for name in SETTINGS.get(kind, ())})


def _weights(weight: Tensor, bias: Tensor | None) -> dict[str, Tensor]:
    return {"weight": weight.detach()} | ({} if bias is None else {"bias": bias.detach()})


def _convolution(layer: Layer) -> Operation:
    """``weight`` is (outputs, inputs / group, kernel...); of a Deconvolution (inputs, outputs / group, kernel...)."""
    assert isinstance(layer, Convolution)
    window = layer.window
    settings = SimpleNamespace(
        axis=layer.axis,
        kernel=window.kernel,
        stride=window.stride,
        pad=window.pad,
        dilation=window.dilation,
        group=layer.group,
    )
    kind = "Deconvolution" if isinstance(layer, Deconvolution) else "Convolution"
    return Operation(kind, settings, _weights(*layer.effective()))


def _inner_product(layer: Layer) -> Operation:
    """``weight`` is (outputs, inputs), whichever way it is stored."""
    assert isinstance(layer, InnerProduct)
    weight, bias = layer.effective()
    settings = SimpleNamespace(axis=layer.axis)
    return Operation("InnerProduct", settings, _weights(weight.t() if layer.transpose else weight, bias))


def _batch_norm(layer: Layer) -> Operation:
    """``mean`` and ``variance`` are missing where they are the batch's, ``weight`` and ``bias`` where it has none."""
    assert isinstance(layer, BatchNorm)
    weights = {}
    if layer.by_blobs():
        weights["mean"], weights["variance"] = layer.statistics()
    if layer.has_bias:
        weights |= _weights(layer.weight, layer.bias)
    return Operation("BatchNorm", SimpleNamespace(eps=layer.eps), weights)


def _pooling(layer: Layer) -> Operation:
    """``share`` is the factor of each window's sum, where a mean's windows are not torch's own."""
    assert isinstance(layer, Pooling)
    settings = _settings("Pooling", layer)
    return Operation("Pooling", settings, {"share": layer.share} if settings.margin else {})


def _pyramid(layer: Layer) -> Operation:
    """``levels`` are the settings of its poolings, the coarse ones first; their shares are weights by level."""
    assert isinstance(layer, SPP)
    levels = [_pooling(level) for level in layer.levels if isinstance(level, Pooling)]
    shares = {f"share{index}": level.weights["share"] for index, level in enumerate(levels) if level.weights}
    return Operation("SPP", SimpleNamespace(levels=[level.settings for level in levels]), shares)


def _scale_and_shift(layer: Layer) -> Operation:
    """A BN is a BatchNorm with a scale and a shift, or those alone in SegNet's form for use."""
    assert isinstance(layer, BN)
    weights = {name: getattr(layer, name).detach().flatten() for name in layer.blob_names}
    if layer.axis != 1 or not (layer.is_affine or layer.by_blobs()):
        return Operation("BN", SimpleNamespace(), {})
    if layer.is_affine:
        return Operation("Scale", SimpleNamespace(expanded=(*weights["weight"].shape, *layer.trailing)), weights)
    return Operation("BatchNorm", SimpleNamespace(eps=layer.eps), weights)


def _clipped(layer: Layer) -> Operation:
    assert isinstance(layer, ReLU6)
    return (
        Operation("ReLU6", _settings("ReLU6", layer), {})
        if layer.slope
        else Operation("Clip", _settings("Clip", layer), {})
    )


def _of_kind(kind: str) -> Callable[[Layer], Operation]:
    """Returns the reader of layers that are also built in for type Python, where the kind is not the type."""
    return lambda layer: Operation(kind, _settings(kind, layer), {})


_READERS: dict[type[Layer], Callable[[Layer], Operation]] = {
    Convolution: _convolution,
    InnerProduct: _inner_product,
    BatchNorm: _batch_norm,
    BN: _scale_and_shift,
    ReLU6: _clipped,
    Pooling: _pooling,
    RegionProposal: _of_kind("Proposal"),
    SPP: _pyramid,
    SpatialDropout: _of_kind("SpatialDropout"),
    TextProposals: _of_kind("TextProposals"),
}
