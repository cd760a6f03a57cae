"""Reads the layers of a net's definition without building the net, so that its data is not needed."""

from __future__ import annotations

from collections.abc import Collection

from demitasse.caffe import schema
from demitasse.caffe.definition import labels
from demitasse.caffe.definition.filter import filter_net, net_state
from demitasse.caffe.layers import LAYERS
from demitasse.caffe.upgrade import upgrade_net


def labelled_layers(
    net: schema.NetParameter,
    origin: str,
    phase: int | None = schema.TEST,
    level: int | None = None,
    stages: Collection[str] = (),
) -> dict[str, schema.LayerParameter]:
    """Returns label -> layer, for the layers that the net's state selects, in order.

    Args:
        net: the NetParameter, of any version; it is upgraded in place.
        origin: its file, for messages.
        phase: see :func:`demitasse.caffe.definition.filter.net_state`.
        level: see ``phase``.
        stages: see ``phase``.

    Raises:
        NetError: a layer has both include and exclude rules, or no counterpart in the current form.
    """
    upgrade_net(net, origin)
    placed = filter_net(net, [origin] * len(net.layer), net_state(net, phase, level, stages))
    layers = [layer for layer, _ in placed]
    have_blobs = [layer.type in LAYERS and LAYERS[layer.type].has_blobs for layer in layers]
    return dict(zip(labels.distinct_labels([layer.name for layer in layers], have_blobs), layers, strict=True))
