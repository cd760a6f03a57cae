"""Packed weights of files, kept on the disk as they are in memory: what was decoded once is not decoded again.

An entry is named by the content of its file. What it takes from there are arrays that kernels read without any check,
so that an entry is used only if its checksum is right.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from typing_extensions import Buffer

from demitasse import packed
from demitasse.arrays import Array
from demitasse.files.cached import cache_folders, checked, checksum_of, write_cached
from demitasse.packed.sparse import SparseRows
from demitasse.packed.weight import Form, Matrix, PackedWeight

# bytes of the largest entry, and of all entries of a folder
_LARGEST, _MOST = 1 << 28, 1 << 30
_ALIGNMENT = 64

Held = Array | PackedWeight


class StoredContents(NamedTuple):
    """What is needed of a file to compute its net.

    Attributes:
        metadata: key -> text.
        weights: name -> tensor.
    """

    metadata: Mapping[str, str]
    weights: Mapping[str, Held]


def key_of(path: str | Path) -> str:
    """Returns the name of the entry of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha256(_sources())).hexdigest()[:40]


@cache
def _sources() -> bytes:
    """Returns the sources that say what an entry means: those of another version make other entries."""
    folder = Path(packed.__file__).parent
    files = (Path(__file__), *(folder / name for name in ("rows.py", "sparse.py", "weight.py")))
    return b"".join(file.read_bytes() for file in files)


def read(key: str) -> StoredContents | None:
    """Returns an entry; None if there is none."""
    for folder in _folders():
        path = _place(folder, key)
        if data := checked(path):
            with suppress(OSError):
                path.touch()  # entries that were not used for long are removed first
            return _contents(data)
    return None


def write(key: str, contents: StoredContents) -> None:
    """Writes an entry to the first folder that can be written, unless it is too large."""
    names: dict[int, list[str]] = {}
    for name, each in contents.weights.items():
        names.setdefault(id(each), []).append(name)
    held = [(each, contents.weights[each[0]]) for each in names.values()]
    if sum(each.nbytes for _, each in held) > _LARGEST:
        return
    parts = list(_parts(contents.metadata, held))
    for folder in _folders():
        with suppress(OSError):
            write_cached(_place(folder, key), *parts, checksum_of(parts))
            _remove_old(folder)
            return


def form_of(held: Held) -> Form | None:
    """Returns the form of a packed weight; None for an array."""
    return None if isinstance(held, np.ndarray) else held.matrix.current[0]


def _folders() -> Iterator[Path]:
    return cache_folders("demitasse_models")


def _place(folder: Path, key: str) -> Path:
    return folder / f"model-{key}.packed"


def _remove_old(folder: Path) -> None:
    """Removes the entries that were not used for the longest time, until the others are few enough."""
    entries = [(path.stat(), path) for path in folder.glob("model-*.packed")]
    total = 0
    for status, path in sorted(entries, key=lambda each: -each[0].st_mtime):
        total += status.st_size
        if total > _MOST:
            path.unlink(missing_ok=True)


def _parts(metadata: Mapping[str, str], held: list[tuple[list[str], Held]]) -> Iterator[Buffer]:
    """Yields the length of a text, the text, which describes the arrays, and the arrays."""
    described: list[dict[str, object]] = []
    arrays: list[Array] = []
    for names, each in held:
        parts: tuple[Array, ...] = (each,) if isinstance(each, np.ndarray) else each.matrix.current[1][:4]
        kinds = [[part.dtype.str, part.shape] for part in parts]
        described.append({"names": names, "shape": each.shape, "form": form_of(each), "arrays": kinds})
        arrays += parts
    text = json.dumps({"metadata": dict(metadata), "weights": described}).encode()
    yield len(text).to_bytes(8, "little") + text
    at = 8 + len(text)
    for array in arrays:
        yield bytes(-at % _ALIGNMENT)
        if array.size:
            yield np.ascontiguousarray(array).data.cast("B")
        at += -at % _ALIGNMENT + array.nbytes


def _contents(data: memoryview) -> StoredContents:
    at = 8 + int.from_bytes(data[:8], "little")
    found = json.loads(bytes(data[8:at]))
    weights: dict[str, Held] = {}
    for each in found["weights"]:
        arrays: list[Array] = []
        for dtype, shape in each["arrays"]:
            at += -at % _ALIGNMENT
            array: Array = np.frombuffer(data, dtype, int(np.prod(shape, dtype=np.int64)), at).reshape(shape)
            arrays.append(array)
            at += array.nbytes
        weights.update(dict.fromkeys(each["names"], _weight(tuple(each["shape"]), each["form"], arrays)))
    return StoredContents(found["metadata"], weights)


def _weight(shape: tuple[int, ...], form: list[int] | None, arrays: list[Array]) -> Held:
    if form is None:
        return arrays[0]
    columns = int(np.prod(shape[1:], dtype=np.int64))
    return PackedWeight(shape, Matrix(shape[0], columns, SparseRows(*arrays), Form(*form)))
