"""The lines that the original compact tools print about each layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.caffe.tools.source_model import SourceLayer
from demitasse.packed.compact.base import places
from demitasse.packed.compact.grid import EXPONENTS
from demitasse.packed.compact.squeezenet import codes_per_word

_PLURALS = ("weights", "bias")


def encoded(codec: str, layer: SourceLayer, arrays: Sequence[Array], seconds: float) -> list[str]:
    """Returns the lines about an encoded layer."""
    if codec == "squeezenet":
        return _dense(layer.name, arrays)
    if codec == "sparse":
        return _sparse(layer.kind, arrays)
    steps = _steps("encoding", layer.name, len(arrays))
    sizes = [f"{'':13}num of {what}: {array.size}" for what, array in zip(_PLURALS, arrays, strict=False)]
    lines = [line for pair in zip(steps, sizes, strict=True) for line in pair]
    return [*lines, f"time for layer [{layer.name}]: {seconds:.3f} seconds"]


def decoded(name: str, blobs: int, seconds: float) -> list[str]:
    """Returns the lines about a decoded layer."""
    return [*_steps("decoding", name, blobs), f"time for layer [{name}]: {seconds:.3f} seconds"]


def _steps(doing: str, name: str, blobs: int) -> list[str]:
    first = f"{doing} layer [{name}] "
    return [f"{first}weight ...", f"{'':{len(first)}}bias ..."][:blobs]


def _dense(name: str, arrays: Sequence[Array]) -> list[str]:
    lines = []
    for place, what, array in zip(places(name, len(arrays)), _PLURALS, arrays, strict=False):
        per_word = codes_per_word(place)
        words = -(-array.size // per_word)
        size = f"weights_size = {array.size}" if what == "weights" else f"bias_size =    {array.size}"
        lines += [
            f"saving layer <{name}>, {size}...",
            f"min exp = {np.frexp(np.abs(array).max())[1] - EXPONENTS}",
            f"---- saving size: {words * per_word}",
            f"==== stored size: {words}",
            "",
        ]
    return lines


def _sparse(kind: str, arrays: Sequence[Array]) -> list[str]:
    rows = [
        f"  nz_{role}/{role}: {np.count_nonzero(array):8d}/ {array.size:8d}"
        for role, array in zip("wb", arrays, strict=False)
    ]
    return [f"{'ip' if 'InnerProduct' in kind else 'conv'} layer: ", *rows]
