"""Counts how many values surgery kept, and formats the report of the original converters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from demitasse.caffe.tools.source_model import SourceLayer

_ROLES = ("w", "b")


class Kept(NamedTuple):
    """The numbers of kept and of all values for each blob of one layer."""

    name: str
    kept: list[int]
    total: list[int]


def count(layers: Sequence[SourceLayer]) -> list[Kept]:
    """Counts the kept values of the layers under surgery; other layers are left out."""
    return [
        Kept(
            layer.name,
            [int(np.count_nonzero(kept)) for kept in layer.kept()],
            [blob.size for blob in layer.blobs],
        )
        for layer in layers
        if layer.is_pruned
    ]


def lines(counted: Sequence[Kept]) -> list[str]:
    """Returns the lines about all layers, then the sum and the rate (total / kept); no lines if there are no layers."""
    if not counted:
        return []
    kept, total = (sum(sum(values) for values in column) for column in list(zip(*counted, strict=True))[1:])
    stars = [" ", "*" * 55, " "]
    rate = f"{total / kept:f}" if kept else "inf"
    return [
        *(line for layer in counted for line in _layer_lines(layer)),
        *stars,
        f"Final Statistics: {_share(kept, total, '/ ')}",
        f"Compression Rate: {rate}",
        *stars[:-1],
    ]


def _layer_lines(layer: Kept) -> list[str]:
    width = len(f"{layer.name} layer w:")
    blobs = zip(_ROLES, layer.kept, layer.total, strict=False)
    rows = [f"{role + ':':>{width}} {_share(kept, total)}" for role, kept, total in blobs]
    rows[0] = f"{layer.name} layer {rows[0].lstrip()}"
    return [
        "=" * 55,
        *rows,
        f"{'total:':>{width}} {_share(sum(layer.kept), sum(layer.total))}",
    ]


def _share(kept: int, total: int, slash: str = "/") -> str:
    return f"{kept}{slash}{total} ({100 * kept / max(total, 1):f} %) kept"
