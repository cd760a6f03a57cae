"""Files of weights and biases without names and shapes; both come from the Caffe net that the file belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.models.caffemodel import LayerBlobs
from demitasse.caffe.models.messages import read_bytes
from demitasse.errors import DataError, UsageError, WeightsError, parameter
from demitasse.formats.base import Contents, Settings
from demitasse.formats.blobs import Array, of_layers, to_layers
from demitasse.packed.compact import Shape
from demitasse.packed.compact.base import ROLES

if TYPE_CHECKING:
    from demitasse.caffe.net import Net


def file_content(source: Path | bytes) -> bytes:
    """Returns the content of a file.

    Raises:
        FileFormatError: the file is missing, cannot be read, or is empty.
    """
    return source if isinstance(source, bytes) else read_bytes(source)


def of_blobs(layers: Mapping[str, list[Array]], net: Net) -> Contents:
    """Returns blobs of a net as tensors, given as name of layer -> its blobs."""
    return of_layers(LayerBlobs(name, net.layer(name).spec.type, blobs) for name, blobs in layers.items())


def required_net(settings: Settings, what: str) -> Net:
    """Returns the plain net that a file without names and shapes belongs to.

    Args:
        settings: the settings with its prototxt.
        what: the file, for error messages.

    Raises:
        UsageError: no prototxt is given.
        DataError: the shapes depend on the net's data, which cannot be read.
        NetError: the net cannot be built.
    """
    if settings.net is None:
        raise UsageError(f"{what} contains no names and no shapes: give the net's prototxt by {parameter('net')}")
    return net_with_shapes(settings.net)


def net_with_shapes(path: str | Path) -> Net:
    """Returns the net of a prototxt; raises DataError and NetError like :func:`required_net`."""
    from demitasse.caffe.net import Net

    try:
        return Net.from_file(path)
    except DataError as error:
        raise DataError(
            f"{error}; the shapes of the weights are not in the file, and in this net they depend on the data: "
            "give a deploy prototxt, whose Input layer has a shape"
        ) from None


def stored_shapes(net: Net, rule: LayerRule, takes_fire: bool = False) -> dict[str, list[Shape]]:
    """Returns name -> shapes of weight and bias, for the layers that such a file contains; masks are not stored.

    Args:
        net: the plain net.
        rule: which layers are stored.
        takes_fire: whether layers with "fire" in their names are stored too.
    """
    return {
        name: [tuple(getattr(layer, b).shape) for b in layer.blob_names if not b.endswith("_mask")]
        for name, layer in net.named_layers().items()
        if layer.blob_names and rule.takes(name, layer.spec.type, takes_fire)
    }


def stored_layers(
    contents: Contents, settings: Settings, what: str, takes_fire: bool = False
) -> dict[str, list[Array]]:
    """Returns name -> weight and bias (if it has one), for all layers.

    Args:
        contents: the contents to write.
        settings: the settings with the rule by which layers are stored.
        what: the file, for error messages.
        takes_fire: see :func:`stored_shapes`.

    Raises:
        WeightsError: such files cannot contain a layer; the message names its first tensor.
    """
    rule, found = LayerRule(settings.layers), {}
    for layer in to_layers(contents):
        first = next(iter(layer.tensors.values())).name
        if layer.kind and not rule.takes(layer.name, layer.kind, takes_fire):
            raise WeightsError(
                f"{first} belongs to a layer of type {layer.kind}; {what} contains convolutions and inner products "
                f"({parameter('layers', str(rule))})"
            )
        layer.require_dtypes(what, "float32")
        if len(layer.tensors) > len(ROLES):
            raise WeightsError(
                f"{layer.name}.{len(ROLES)} is one blob too many; {what} contains only weight and bias of a layer "
                "(dns_to_normal and inq_to_normal remove masks)"
            )
        found[layer.name] = layer.arrays(what)
    return found
