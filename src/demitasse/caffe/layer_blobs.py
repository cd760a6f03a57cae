"""Copies arrays into the blobs of a layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from demitasse.caffe.layers import Layer
from demitasse.caffe.models.blobs import Array
from demitasse.errors import WeightsError


def write_blobs(layer: Layer, name: str, arrays: Sequence[Array], origin: str) -> None:
    """Copies arrays into the blobs of a layer.

    A layer with masks also accepts only weight and bias; its masks then keep their filled values.

    Args:
        layer: the layer.
        name: its label, for error messages.
        arrays: its blobs in order; an empty array leaves a shared blob unchanged.
        origin: where the arrays come from, for error messages.

    Raises:
        WeightsError: the number or the shapes of the blobs differ; the message has the blob and both shapes.
    """
    blobs = layer.blobs()
    plain = [i for i, blob in enumerate(layer.blob_names) if not blob.endswith("_mask")]
    if len(arrays) not in (len(blobs), len(plain)):
        raise WeightsError(f"{origin}: layer {name!r} has {len(arrays)} blobs, but the net's has {len(blobs)}")
    for index, array in enumerate(arrays):
        if not array.size:  # a shared blob, which is loaded with its owner
            continue
        blob = blobs[index]
        if _squeezed(array.shape) != _squeezed(tuple(blob.shape)):
            raise WeightsError(
                f"{origin}: blob {index} ({layer.blob_names[index]}) of layer {name!r} has shape "
                f"{list(array.shape)}, but the net's has {list(blob.shape)}"
            )
        writable = np.require(array, requirements=("C", "W"))
        layer.write_blob(layer.blob_names[index], torch.from_numpy(writable))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the shape without leading ones, since blobs in files from before BlobShape have four axes."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
