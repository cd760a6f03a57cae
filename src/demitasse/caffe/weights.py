"""Loads the weights of a net from caffemodels, and saves them, as protobuf or HDF5."""

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
    """Copies the blobs of a caffemodel to the layers with the same names; other layers are unchanged.

    If several layers have the same name, the first in the file goes to the first in the net, and so on. If no layer
    of the file is in the net, a warning is logged, as in Caffe.

    Returns:
        The labels of the loaded layers.

    Raises:
        FileFormatError: the file cannot be read.
        WeightsError: a layer with the same name has other blobs.
    """
    known = net.named_layers()
    owners = {blob.layer for blob in net.learnable}
    model = read_model(path)
    loaded: list[str] = []
    for name, kind, blobs in model:
        if name not in known or not known[name].blob_names:
            continue
        if not blobs and name not in owners:  # HDF5 stores shared blobs only with their owner
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
            f"{path}: no layer of this file is in the net, so the net keeps its weights; the file has "
            f"{', '.join(repr(layer.name) for layer in model if layer.blobs) or 'no blobs'}, "
            f"the net has {', '.join(map(repr, sorted(owners)))}",
        )
    return loaded


def fitting(name: str, kind: str, blobs: list[Array], target: Layer, unmasked: list[str] | None) -> list[Array]:
    """Returns the blobs of a file in the form that a layer of a net expects: without masks if it has none.

    Args:
        name: the name of the layer.
        kind: its type in the file; empty if unknown.
        blobs: its blobs in the file.
        target: the layer of the net.
        unmasked: receives the name if masks are applied and dropped; None refuses masks.

    Raises:
        WeightsError: the blobs have masks but the layer has none, and masks are refused or their type is unknown.
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
    """Returns the NetParameter of a net with its blobs, with private field numbers."""
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
        WriteError: the file cannot be written; an existing file is unchanged.
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
