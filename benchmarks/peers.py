"""The other coders, each behind the same two lines: NNCodec, zstd, xz."""

from __future__ import annotations

import json
import lzma
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demitasse.packed.palettes.fixed import find_fixed
from demitasse.packed.tensor import Tensor

# numpy 1 and packages of its own: it runs in an environment of its own
_NNCODEC = """
import contextlib, io, json, sys, tempfile, time
import numpy as np
import nncodec.nn as codec

values = dict(np.load(sys.argv[1]))
with contextlib.redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder:
    start = time.perf_counter()
    coded = codec.encode(values, {"results": folder, "model": "net", "qp": -20, "verbose": False})
    middle = time.perf_counter()
    found = codec.decode(coded)
    end = time.perf_counter()
assert all(np.array_equal(found[name], value) for name, value in values.items()), "it lost something"
print(json.dumps([len(coded), middle - start, end - middle]))
"""


class Coded(NamedTuple):
    """What a coder made of a net: bytes, and seconds."""

    size: int
    encoding: float
    decoding: float


def codes(tensors: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], int] | None:
    """Returns small integers in place of the values, of their sign and in their order, and the bytes of the values.

    Powers of two count nothing. None if a tensor has more values than a list is good for.
    """
    found, listed = {}, 0
    for tensor in tensors:
        known = find_fixed(tensor)
        if known is None and tensor.bits.any():
            return None
        values = tensor.array().astype(np.float64).reshape(tensor.shape or (1,))
        different = np.unique(values[values != 0])
        ranks = np.searchsorted(different, values) - np.count_nonzero(different < 0)
        found[tensor.name] = np.where(values == 0, 0, ranks + (values > 0)).astype(np.int32)
        listed += 0 if known is None or known.signed else len(different) * tensor.dtype.size
    return found, listed


def nncodec(tensors: Sequence[Tensor], python: Path | None) -> Coded | None:
    """Codes small integers without loss, beside the list of values; None if there are too many values for that."""
    found = codes(tensors) if python else None
    if found is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.npz"
        np.savez(path, **found[0])
        command = [str(python), "-c", _NNCODEC, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    size, encoding, decoding = json.loads(done.stdout.splitlines()[-1])
    return Coded(size + found[1], encoding, decoding)


def plain(tensors: Sequence[Tensor]) -> bytes:
    """Returns what the general coders do best on: a byte for each weight of few values, else the planes of bytes."""
    found = codes(tensors)
    if found and max((np.ptp(values) for values in found[0].values() if values.size), default=0) < 256:
        return b"".join(values.astype(np.int8).tobytes() for values in found[0].values())
    out = b""
    for tensor in tensors:
        out += np.ascontiguousarray(tensor.bits.view(np.uint8).reshape(tensor.size, -1).T).tobytes()
    return out


def zstd(tensors: Sequence[Tensor]) -> Coded:
    """Runs the command ``zstd -19``."""
    data, start = plain(tensors), time.perf_counter()
    coded = subprocess.run(["zstd", "-19", "-c", "-q"], input=data, capture_output=True, check=True).stdout
    middle = time.perf_counter()
    subprocess.run(["zstd", "-d", "-c", "-q"], input=coded, capture_output=True, check=True)
    return Coded(len(coded), middle - start, time.perf_counter() - middle)


def xz(tensors: Sequence[Tensor]) -> Coded:
    """Runs xz, preset 9e."""
    data, start = plain(tensors), time.perf_counter()
    coded = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    middle = time.perf_counter()
    lzma.decompress(coded)
    return Coded(len(coded), middle - start, time.perf_counter() - middle)
