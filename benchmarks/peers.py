"""The other coders, each behind the same two lines: NNCodec, zstd, xz."""

from __future__ import annotations

import json
import lzma
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
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
    coded = codec.encode(values, {"results": folder, "model": "net", "qp": int(sys.argv[2]), "verbose": False})
    middle = time.perf_counter()
    found = codec.decode(coded)
    end = time.perf_counter()
np.savez(sys.argv[3], **found)
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
    if python is None or found is None:
        return None
    coded, decoded = nncodec_at(found[0], python, qp=-20)
    if not all(np.array_equal(decoded[name], value) for name, value in found[0].items()):
        raise ValueError("NNCodec lost something")
    return coded._replace(size=coded.size + found[1])


def nncodec_at(values: Mapping[str, np.ndarray], python: Path, qp: int) -> tuple[Coded, dict[str, np.ndarray]]:
    """Codes values, floats with its own quantization, and returns what they are in its file.

    Args:
        values: name -> whole numbers, or float32.
        python: of the environment with NNCodec.
        qp: its quantization parameter; the step of a float grows with it, about twice for every 4.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, found = (str(Path(folder) / name) for name in ("values.npz", "decoded.npz"))
        np.savez(given, **values)
        command = [str(python), "-c", _NNCODEC, given, str(qp), found]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        return Coded(*json.loads(done.stdout.splitlines()[-1])), dict(np.load(found))


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
