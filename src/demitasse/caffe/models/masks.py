"""Masks in the models of compressing layers: how to recognize them among the blobs, and how to apply them.

A layer under surgery computes with weight * mask. A layer under quantization computes with the weights themselves;
its mask marks the weights that are free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.layer_rule import COMPRESSING, SURGERY
from demitasse.caffe.models.blobs import Array
from demitasse.errors import WeightsError

_PREFIXES = ("DNS", "INQ", "C")


def plain_type(kind: str) -> str:
    """Returns the type of a layer without compression, such as Convolution for DNSConvolution."""
    prefixes = [prefix for prefix in _PREFIXES if kind in COMPRESSING and kind.startswith(prefix)]
    return kind.removeprefix(prefixes[0]) if prefixes else kind


def without_compression(net: schema.NetParameter) -> bool:
    """Replaces the compressing layers of a definition by plain ones, in place; returns whether there were any."""
    found = [layer for layer in net.layer if layer.type in COMPRESSING]
    for layer in found:
        layer.type = plain_type(layer.type)
        del layer.param[2:]  # the params of the masks
    return bool(found)


def has_masks(kind: str, blobs: Sequence[Array]) -> bool:
    """Returns whether the second half of the blobs are masks of the first half: zeros and ones of the same shapes.

    Args:
        kind: the type of the layer; empty if the file does not store it, as HDF5.
        blobs: the blobs of the layer.
    """
    half, odd = divmod(len(blobs), 2)
    # a Scale whose biases are all 0 or 1 looks like values with one axis and their mask
    if (kind and kind not in COMPRESSING) or odd or not half or blobs[0].ndim < 2:
        return False
    return all(
        values.shape == mask.shape and bool(((mask == 0) | (mask == 1)).all())
        for values, mask in zip(blobs[:half], blobs[half:], strict=True)
    )


def without_masks(name: str, kind: str, blobs: list[Array]) -> list[Array]:
    """Returns the values that a layer with masks computes with; cut values are 0.

    Raises:
        WeightsError: the type is unknown, so that the masks may mark cut or frozen values.
    """
    half = len(blobs) // 2
    values = blobs[:half]
    if kind and kind not in SURGERY:
        return values
    cut = [np.where(mask == 1, each, np.zeros((), each.dtype)) for each, mask in zip(values, blobs[half:], strict=True)]
    if not kind and not all(map(np.array_equal, cut, values)):
        raise WeightsError(
            f"layer {name!r} has masks beside its weights, and HDF5 does not store whether they cut or freeze them: "
            f"{plain_model_advice(kind)}, or give the prototxt of the net"
        )
    return cut


def has_masks_text(name: str, kind: str) -> str:
    """Returns the words of a message that a layer has masks."""
    return f"layer {name!r}{f' ({kind})' if kind else ''} has masks beside its weights"


def plain_model_advice(kind: str) -> str:
    """Returns the words of a message that name the command for a plain model."""
    commands = ["'dns_to_normal'"] * (not kind or kind in SURGERY) + ["'inq_to_normal'"] * (kind not in SURGERY)
    return f"convert it to a plain model by {' or '.join(commands)}"


def applied_masks_line(names: Sequence[str], path: object) -> str:
    """Returns the message that masks were applied."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{path}: applied and dropped the masks of {shown}, as dns_to_normal and inq_to_normal do"
