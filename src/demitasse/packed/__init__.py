"""Weights as bytes: file formats of compressed nets. Knows bytes and numpy arrays, neither torch nor Caffe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["load"]


def load(source: str | Path | bytes) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Reads a .demi file as numpy arrays, without PyTorch.

    Args:
        source: the path of the file, or its bytes.

    Returns:
        Name -> values in their shape. Of a type that numpy does not have, such as bfloat16, the bits of the values as
        unsigned integers; where the two halves of a complex number are of such a type, in a last axis of 2.

    Raises:
        FileFormatError: the file is missing, cut short, damaged, or no .demi file.
    """
    from demitasse.packed.file import File

    with File(source) as file:
        return {tensor.name: tensor.array() for tensor in file.tensors()}
