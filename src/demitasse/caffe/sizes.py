"""Limits of blob sizes, checked before memory is allocated, since a file may declare any size."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from demitasse.caffe import schema
from demitasse.errors import NetError

MOST_AXES = 32  # Caffe's own limits of axes and of entries, which it counts in an int
MOST_ENTRIES = 2**31 - 1
_MOST_STRIDE = 2**62  # of torch
_ENTRY = 4  # bytes
_SPREADING = ("stride", "kernel", "dilation")  # settings that enlarge the tops of a deconvolution


def check_size(shape: Sequence[int], what: str) -> None:
    """Checks that a blob of this shape is possible.

    Args:
        shape: the sizes of its axes.
        what: its name, for the error message.

    Raises:
        NetError: an axis is negative, there are too many axes, or the blob is larger than Caffe allows or than the
            memory of this machine.
    """
    if len(shape) > MOST_AXES:
        raise NetError(f"{what} has {len(shape)} axes; expected at most {MOST_AXES}")
    if min(shape, default=0) < 0:
        raise NetError(f"{what} has the shape {list(shape)}; expected sizes of 0 or more")
    count = math.prod(shape)
    if not count and math.prod(size or 1 for size in shape) > _MOST_STRIDE:
        raise NetError(f"{what} has the shape {list(shape)}; expected smaller axes, though it has no entries")
    if count > MOST_ENTRIES:
        raise NetError(f"{what} of shape {list(shape)} has {count} entries; expected at most {MOST_ENTRIES}")
    if count * _ENTRY > _memory():
        raise NetError(f"{what} of shape {list(shape)} needs {count * _ENTRY} bytes; this machine has {_memory()}")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def growth_bound(layer: schema.LayerParameter) -> int:
    """Returns an upper bound of the ratio between the numbers of entries of a layer's tops and bottoms."""
    bound = 1
    for field, settings in layer.ListFields():
        if not field.name.endswith("_param"):
            continue
        for each, value in settings.ListFields():
            if each.name in ("num_output", "tiles"):
                bound *= max(value, 1)
            elif each.name.startswith("pad") or (layer.type == "Deconvolution" and each.name.startswith(_SPREADING)):
                bound *= (1 + 2 * (max(value) if isinstance(value, Sequence) else value)) ** 2
    return bound
