"""The weights of a net: loaded from caffemodels and saved as such, protobuf or HDF5."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe import log, schema
from demitasse.caffe.layers import Layer
from demitasse.caffe.models.blobs import Array, array_blob, blob_arrays
from demitasse.caffe.models.caffemodel import read_model, write_net_message
from demitasse.caffe.models.masks import has_masks, has_masks_text, plain_model_advice, without_masks
from demitasse.caffe.net import Net
from demitasse.errors import WeightsError


def load_weights(net: Net, path: str | Path) -> list[str]:
    """Copies the blobs of a caffemodel into the layers of the same names; other layers stay as they are.

    Of several layers of one name, the first in the file goes to the first in the net, and so on. Where no layer of
    the file is in the net, there is a warning, as Caffe has it.

    Returns:
        The labels of the layers that were loaded.

    Raises:
        FileFormatError: the file cannot be read.
        WeightsError: a layer of the same name has other blobs.
    """
    known = net.named_layers()
    owners = {blob.layer for blob in net.learnable}
    model = read_model(path)
    loaded: list[str] = []
    for name, kind, blobs in model:
        if name not in known or not known[name].blob_names:
            continue
        if not blobs and name not in owners:  # shared blobs stand under their owner in HDF5
            continue
        try:
            blobs = fitting(name, kind, blobs, known[name], None)
        except WeightsError as error:
            raise error.within(str(path)) from error
        net.load_blobs(name, blobs, str(path))
        loaded.append(name)
    if not loaded and owners:
        log.warning(
            "net.cpp:757",
            f"{path}: no layer of this file is in the net, which keeps its weights; the file has "
            f"{', '.join(repr(layer.name) for layer in model if layer.blobs) or 'no blobs'}, "
            f"the net has {', '.join(map(repr, sorted(owners)))}",
        )
    return loaded


def fitting(name: str, kind: str, blobs: list[Array], target: Layer, unmasked: list[str] | None) -> list[Array]:
    """Returns blobs as a layer of a net takes them.

    Args:
        name: of the layer.
        kind: its type in the file.
        blobs: of the file.
        target: the layer of the net.
        unmasked: the name is added where the layer is a plain one, and the masks are applied; None refuses them.

    Raises:
        WeightsError: the blobs have masks, the layer has not, and they are refused or their type is not known.
    """
    if len(blobs) != 2 * len(target.blob_names) or not has_masks(kind, blobs):
        return blobs
    if unmasked is None:
        raise WeightsError(
            f"{has_masks_text(name, kind)}, but the net's is a plain {target.spec.type}: {plain_model_advice(kind)}"
        )
    unmasked.append(name)
    return without_masks(name, kind, blobs)


def net_message(net: Net) -> schema.NetParameter:
    """Returns the NetParameter of a net with its blobs, private field numbers inside."""
    message = schema.NetParameter.FromString(net.spec.SerializeToString())
    layers = net.named_layers()
    for label, spec in zip(net.labels, message.layer, strict=True):
        if label in layers:
            del spec.blobs[:]
            spec.blobs.extend(array_blob(array) for array in blob_arrays(layers[label].blobs()))
    return message


def save_weights(net: Net, path: str | Path, hdf5: bool = False) -> None:
    """Writes a net's blobs as a caffemodel, atomically.

    Raises:
        WriteError: the file cannot be written; an older one is as before.
    """
    if not hdf5:
        write_net_message(net_message(net), path)
        return
    from demitasse.caffe.models.hdf5_file import write_hdf5

    owned = {(blob.layer, blob.index) for blob in net.learnable}
    layers = net.named_layers()
    blobs: dict[str, dict[int, Array]] = {}
    for label in net.labels:
        arrays = blob_arrays(layers[label].blobs()) if label in layers else []
        blobs[label] = {index: array for index, array in enumerate(arrays) if (label, index) in owned}
    write_hdf5(blobs, path)
