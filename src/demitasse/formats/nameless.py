"""Files without names and shapes, which are those of a Caffe net: its weights and biases, layer by layer."""

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
    """Returns the bytes of a file.

    Raises:
        FileFormatError: it is missing, cannot be read, or is empty.
    """
    return source if isinstance(source, bytes) else read_bytes(source)


def of_blobs(layers: Mapping[str, list[Array]], net: Net) -> Contents:
    """Returns the blobs of a net's layers, by name, as tensors."""
    return of_layers(LayerBlobs(name, net.layer(name).spec.type, blobs) for name, blobs in layers.items())


def required_net(settings: Settings, what: str) -> Net:
    """Returns the plain net that a file without names and shapes belongs to.

    Args:
        settings: tell its prototxt.
        what: the file, for errors.

    Raises:
        UsageError: no prototxt is given.
        DataError: the shapes follow from its data, which cannot be read.
        NetError: the net cannot be built.
    """
    if settings.net is None:
        raise UsageError(f"{what} has no names and no shapes: give the net's prototxt by {parameter('net')}")
    return net_with_shapes(settings.net)


def net_with_shapes(path: str | Path) -> Net:
    """Returns the net of a prototxt; errors as of :func:`required_net`."""
    from demitasse.caffe.net import Net

    try:
        return Net.from_file(path)
    except DataError as error:
        raise DataError(
            f"{error}; the file does not tell the shapes of the weights, and in this net they follow from the data: "
            "give a deploy prototxt, whose Input has a shape"
        ) from None


def stored_shapes(net: Net, rule: LayerRule, takes_fire: bool = False) -> dict[str, list[Shape]]:
    """Returns name -> shapes of weight and bias of the layers that a file without names holds; masks are not stored.

    Args:
        net: the plain net.
        rule: which layers are stored.
        takes_fire: whether layers with "fire" in their names are, too.
    """
    return {
        name: [tuple(getattr(layer, b).shape) for b in layer.blob_names if not b.endswith("_mask")]
        for name, layer in net.named_layers().items()
        if layer.blob_names and rule.takes(name, layer.spec.type, takes_fire)
    }


def stored_layers(
    contents: Contents, settings: Settings, what: str, takes_fire: bool = False
) -> dict[str, list[Array]]:
    """Returns name -> weight and, where there is one, bias of all layers.

    Args:
        contents: to be written.
        settings: tell by which rule layers are stored.
        what: the file, for errors.
        takes_fire: see :func:`stored_shapes`.

    Raises:
        WeightsError: such files hold no layers of this kind; names the first tensor of it.
    """
    rule, found = LayerRule(settings.layers), {}
    for layer in to_layers(contents):
        first = next(iter(layer.tensors.values())).name
        if layer.kind and not rule.takes(layer.name, layer.kind, takes_fire):
            raise WeightsError(
                f"{first} belongs to a layer of type {layer.kind}; {what} holds convolutions and inner products "
                f"({parameter('layers', str(rule))})"
            )
        layer.require_dtypes(what, "float32")
        if len(layer.tensors) > len(ROLES):
            raise WeightsError(
                f"{layer.name}.{len(ROLES)} is one blob too many; {what} holds weight and bias of a layer "
                "(of a net with masks, dns_to_normal and inq_to_normal make a plain one)"
            )
        found[layer.name] = layer.arrays(what)
    return found
