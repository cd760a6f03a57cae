"""Masks in the models of compressing layers: how they are told from other blobs, and what layers compute with them.

A layer under surgery computes with weight * mask, one under quantization with the weights as they are: its mask says
which of them are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.layer_rule import COMPRESSING, SURGERY
from demitasse.errors import WeightsError

Array = NDArray[Any]

_PREFIXES = ("DNS", "INQ", "C")


def plain_type(kind: str) -> str:
    """Returns the type of the layer without compression: Convolution of DNSConvolution."""
    prefixes = [prefix for prefix in _PREFIXES if kind in COMPRESSING and kind.startswith(prefix)]
    return kind.removeprefix(prefixes[0]) if prefixes else kind


def without_compression(net: schema.NetParameter) -> bool:
    """Makes the compressing layers of a definition plain ones; returns whether there were any."""
    found = [layer for layer in net.layer if layer.type in COMPRESSING]
    for layer in found:
        layer.type = plain_type(layer.type)
        del layer.param[2:]  # those of the masks
    return bool(found)


def has_masks(kind: str, blobs: Sequence[Array]) -> bool:
    """Returns whether every value has a mask.

    Args:
        kind: type of the layer; empty where the file does not tell it, as HDF5.
        blobs: of the layer: values, then as many masks, of the same shapes and of zeros and ones.
    """
    half, odd = divmod(len(blobs), 2)
    # a Scale whose biases are 0 or 1 looks like values of one axis with their mask
    if (kind and kind not in COMPRESSING) or odd or not half or blobs[0].ndim < 2:
        return False
    return all(
        values.shape == mask.shape and bool(((mask == 0) | (mask == 1)).all())
        for values, mask in zip(blobs[:half], blobs[half:], strict=True)
    )


def without_masks(name: str, kind: str, blobs: list[Array]) -> list[Array]:
    """Returns the values that a layer with masks computes with: cut ones are 0.

    Raises:
        WeightsError: the type is not known, so that a mask may say either.
    """
    half = len(blobs) // 2
    values = blobs[:half]
    if kind and kind not in SURGERY:
        return values
    cut = [np.where(mask == 1, each, np.zeros((), each.dtype)) for each, mask in zip(values, blobs[half:], strict=True)]
    if not kind and not all(map(np.array_equal, cut, values)):
        raise WeightsError(
            f"layer {name!r} has masks beside its weights, and HDF5 does not tell whether they cut or freeze them: "
            f"{plain_model_advice(kind)}, or give the prototxt of the net"
        )
    return cut


def has_masks_text(name: str, kind: str) -> str:
    """Returns the words that a layer of a model has masks."""
    return f"layer {name!r} {f'is of type {kind} and ' if kind else ''}has masks beside its weights"


def plain_model_advice(kind: str) -> str:
    """Returns which command makes a plain model."""
    commands = ["'dns_to_normal'"] * (not kind or kind in SURGERY) + ["'inq_to_normal'"] * (kind not in SURGERY)
    return f"make a plain model by {' or '.join(commands)}"


def applied_masks_line(names: Sequence[str], path: object) -> str:
    """Returns the line that says what was done."""
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{path}: the masks of {shown} are applied and left out, as dns_to_normal and inq_to_normal do"
