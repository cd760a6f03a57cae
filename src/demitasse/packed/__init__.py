"""File formats of compressed nets, from bytes to numpy arrays and back, without torch or Caffe."""

from __future__ import annotations

from pathlib import Path

from demitasse.arrays import Array

SUFFIX = ".demi"

__all__ = ["SUFFIX", "load"]


def load(source: str | Path | bytes) -> dict[str, Array]:
    """Reads a .demi file as numpy arrays, without PyTorch.

    Args:
        source: the path of the file, or its bytes.

    Returns:
        Name -> array of the tensor's shape. For a type that numpy lacks, such as bfloat16, the array holds the bits of
        the values as unsigned integers; for complex32 it has a last axis of 2, the real and the imaginary part.

    Raises:
        FileFormatError: the file is missing, cut short, damaged, or not a .demi file.
    """
    from demitasse.packed.file import File

    with File(source) as file:
        return {tensor.name: tensor.array() for tensor in file.tensors()}
