"""Converts layers that Intel's fork and Caffe for OpenCL merge into the layer before them to layers of their own."""

from __future__ import annotations

from collections.abc import Sequence

from demitasse.caffe import schema
from demitasse.errors import NetError

Layers = list[schema.LayerParameter]
_OF_CONVOLUTION = ("relu", "negative_slope", "fuse_type", "eltwise_param", "relu_param")


def part_merged(net: schema.NetParameter, places: list[str]) -> None:
    """Adds the layers that others contain, in place.

    They are a ReLU after a Convolution (``relu`` and ``negative_slope``, or ``fuse_type: FUSED_CONV_RELU`` and
    ``relu_param``) or a BatchNorm (``relu``), the sum of a Convolution and its last bottom before its ReLU
    (``FUSED_CONV_ELTWISE_RELU`` and ``eltwise_param``), and a Pooling after an LRN (``fuse_type: FUSED_POOL_MAX`` and
    ``pooling_param``). ``bn_stats_batch_size`` of a net becomes ``stats_batch_size`` of its BatchNorm layers.

    Args:
        net: the net.
        places: the place of each layer, for errors; added layers get the place of the layer that contained them.

    Raises:
        NetError: a layer has the settings of a merged layer, but merges none, or lacks a bottom for it.
    """
    _share_batch_size(net)
    blobs = {top for layer in net.layer for top in layer.top}
    found: list[Layers] = []
    for layer, place in zip(net.layer, places, strict=True):
        try:
            found.append([layer, *_convolution(layer, blobs), *_batch_norm(layer), *_lrn(layer, blobs)])
        except NetError as error:
            raise error.within(f"{place}: layer {layer.name!r}") from error
    if all(len(layers) == 1 for layers in found):
        return
    places[:] = [place for place, layers in zip(places, found, strict=True) for _ in layers]
    parted = [schema.LayerParameter.FromString(layer.SerializeToString()) for layers in found for layer in layers]
    del net.layer[:]
    net.layer.extend(parted)


def _share_batch_size(net: schema.NetParameter) -> None:
    for layer in net.layer if net.bn_stats_batch_size else ():
        if layer.type == "BatchNorm" and not layer.batch_norm_param.HasField("stats_batch_size"):
            layer.batch_norm_param.stats_batch_size = net.bn_stats_batch_size
    net.ClearField("bn_stats_batch_size")


def _convolution(layer: schema.LayerParameter, blobs: set[str]) -> Layers:
    """Returns the layers inside a convolution, and removes their settings from it."""
    settings = layer.convolution_param
    if not any(map(settings.HasField, _OF_CONVOLUTION)):
        return []
    adds = settings.fuse_type == settings.FUSED_CONV_ELTWISE_RELU
    if settings.negative_slope and not settings.relu:
        raise NetError(f"found negative_slope {settings.negative_slope:g}; expected it only with relu: true")
    if settings.relu and settings.fuse_type:
        raise NetError("found both relu and fuse_type; give one of them")
    if settings.HasField("relu_param") and not settings.fuse_type:
        raise NetError("convolution_param has relu_param; expected it only with a fuse_type")
    if settings.HasField("eltwise_param") and not adds:
        raise NetError("convolution_param has eltwise_param; expected it only with FUSED_CONV_ELTWISE_RELU")
    tops = list(layer.top)
    found = [_sum(layer, blobs)] if adds else []
    if settings.relu or settings.fuse_type:
        slope = settings.negative_slope if settings.relu else settings.relu_param.negative_slope
        found += _relus(layer, tops, slope)
    for field in _OF_CONVOLUTION:
        settings.ClearField(field)
    return found


def _sum(layer: schema.LayerParameter, blobs: set[str]) -> schema.LayerParameter:
    """Returns the sum of a convolution and its last bottom, which is no bottom of the convolution any more."""
    if len(layer.bottom) != 2 or len(layer.top) != 1:
        raise NetError(
            f"found {len(layer.bottom)} bottoms and {len(layer.top)} tops; expected two, the second of which is "
            "added, and one"
        )
    (top,), other = layer.top, layer.bottom.pop()
    layer.top[0] = _new_name(f"{top}/conv", blobs)
    added = _beside(layer, "Eltwise", "sum", [layer.top[0], other], top)
    added.eltwise_param.CopyFrom(layer.convolution_param.eltwise_param)
    return added


def _batch_norm(layer: schema.LayerParameter) -> Layers:
    if not layer.batch_norm_param.HasField("relu"):
        return []
    merges = layer.batch_norm_param.relu
    layer.batch_norm_param.ClearField("relu")
    return _relus(layer, layer.top, 0) if merges else []


def _lrn(layer: schema.LayerParameter, blobs: set[str]) -> Layers:
    settings = layer.lrn_param
    if not (settings.HasField("fuse_type") or settings.HasField("pooling_param")):
        return []
    pools = settings.fuse_type == settings.FUSED_POOL_MAX
    if pools != settings.HasField("pooling_param") or len(layer.top) != 1:
        raise NetError("expected pooling_param and one top with fuse_type: FUSED_POOL_MAX, and only with it")
    top = layer.top[0]
    found = []
    if pools:
        layer.top[0] = _new_name(f"{top}/norm", blobs)
        found = [_beside(layer, "Pooling", "pool", layer.top, top)]
        found[0].pooling_param.CopyFrom(settings.pooling_param)
    for field in ("fuse_type", "pooling_param"):
        settings.ClearField(field)
    return found


def _relus(layer: schema.LayerParameter, tops: Sequence[str], slope: float) -> Layers:
    found = [_beside(layer, "ReLU", "relu", [top], top) for top in tops]
    for relu in found:
        relu.relu_param.negative_slope = slope
    return found


def _beside(
    layer: schema.LayerParameter, kind: str, suffix: str, bottoms: Sequence[str], top: str
) -> schema.LayerParameter:
    """Returns a new layer that is in the same nets as ``layer``."""
    added = schema.LayerParameter(name=f"{layer.name}/{suffix}", type=kind, bottom=bottoms, top=[top])
    added.include.extend(layer.include)
    added.exclude.extend(layer.exclude)
    if layer.HasField("phase"):
        added.phase = layer.phase
    return added


def _new_name(name: str, blobs: set[str]) -> str:
    while name in blobs:
        name += "'"
    blobs.add(name)
    return name
