"""Upgrades a net to the current form, by steps in Caffe's order."""

from __future__ import annotations

from demitasse.caffe import schema
from demitasse.caffe.text.fields import Places
from demitasse.caffe.upgrade import current, merged, v0, v1, volumes
from demitasse.errors import NetError


def upgrade_net(net: schema.NetParameter, origin: str = "net", places: Places | None = None) -> schema.NetParameter:
    """Converts a NetParameter of any form to the current one, in place, and returns it.

    Args:
        net: the net, with blobs as bytes or as repeated numbers.
        origin: the file it came from, for errors.
        places: the places of the net's parts, for errors; those of layers that are removed or added change with them.

    Raises:
        NetError: the net mixes forms, or a layer has no counterpart in the current form; the message has the place.
    """
    upgrade_layers(net, origin, places)
    at = [origin] * len(net.layer) if places is None else places.layers
    current.name_dilation(net, at)
    volumes.spread_time(net, at)
    merged.part_merged(net, at)
    current.input_layer(net, origin if places is None else places.inputs)
    current.fix_statistics(net)
    return net


def upgrade_layers(net: schema.NetParameter, origin: str = "net", places: Places | None = None) -> schema.NetParameter:
    """Converts only the ``layers`` of V0 and V1 to ``layer``, in place; see :func:`upgrade_net`."""
    if not net.layers:
        return net
    if net.layer:
        counts = f"{len(net.layers)} 'layers', the form from before 2015, and {len(net.layer)} 'layer'"
        raise NetError(f"{origin}: the net has {counts}; expected only one form")
    if any(layer.HasField("layer") for layer in net.layers):
        v0.upgrade(net, [origin] * len(net.layers) if places is None else places.layers)
    v1.move_transforms(net)
    v1.upgrade(net)
    return net
