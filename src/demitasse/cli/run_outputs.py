"""The outputs of run: a line for each, and the file."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import UsageError
from demitasse.files import is_stream, write_bytes


def check_file(path: Path | None, outputs: Sequence[str], has_blobs: bool) -> None:
    """Checks that a file can hold the outputs, before they are computed; ``has_blobs`` if ``--blob`` names them.

    Raises:
        UsageError: it has another ending, or is .npy and there are several outputs.
    """
    if path is None or is_stream(path) or path.suffix == ".npz":
        return
    if path.suffix != ".npy":
        raise UsageError(f"{path}: expected the name of a file that ends in .npy or .npz")
    if len(outputs) != 1:
        way = "choose one by --blob, or write .npz" if has_blobs else "write .npz"
        raise UsageError(f"{path}: .npy is for one output; found {', '.join(outputs)}; {way}")


def write(path: Path, outputs: Mapping[str, Array]) -> None:
    """Writes the outputs: .npy has the only one, .npz each under its name."""
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        (array,) = outputs.values()
        np.save(buffer, array)
    else:
        np.savez(buffer, **outputs)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def lines(outputs: Mapping[str, Array]) -> list[str]:
    """Returns a line about each output: its shape, and where the greatest values of the first rows are."""
    found = []
    for name, array in outputs.items():
        if not array.ndim:
            found.append(f"{name}: {array.item():.6g}")
            continue
        rows = array.reshape(len(array), math.prod(array.shape[1:]))
        greatest = f", greatest at {rows.argmax(1)[:10].tolist()}" if array.size else ""
        found.append(f"{name}: shape {list(array.shape)}{greatest}")
    return found


def joined(parts: Sequence[Array]) -> Array:
    """Returns the parts of an output, one after the other."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.atleast_1d(part) for part in parts])
