"""Writers and readers of one path, each a process: every read must be one writer's whole file.

``python -m tests.files.rounds FOLDER WRITERS READERS ROUNDS`` goes through all formats and prints what was read.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import demitasse
from demitasse.files import atomic_write, write_bytes, write_text
from demitasse.formats import Contents, Settings
from demitasse.formats.base import format_of
from demitasse.packed.compact import CODECS
from demitasse.packed.reader import ByteReader
from demitasse.packed.tensor import of_array

NAMES = ("fc.0", "fc.1")
FIXED = (40, 30)
Arrays = dict[str, np.ndarray[Any, Any]]


def _arrays(number: int) -> Arrays:
    """Returns what a round writes: one number everywhere, in arrays whose size the number tells."""
    size = 50 + number % 7 * 40
    return {name: np.full((size, 3), number, np.float32) for name in NAMES}


def _save(path: Path, number: int) -> None:
    demitasse.save({name: torch.from_numpy(array) for name, array in _arrays(number).items()}, path)


def _load(path: Path) -> Arrays:
    found = demitasse.load(path)
    assert isinstance(found, dict)
    return {name: tensor.numpy() for name, tensor in found.items()}


def _write_caffemodel(path: Path, number: int) -> None:
    tensors = [of_array(name, array) for name, array in _arrays(number).items()]
    with atomic_write(path) as file:
        format_of(path).write(Contents(tensors, {"caffe": "InnerProduct"}), file, Settings())


def _read_caffemodel(path: Path) -> Arrays:
    return {each.name: each.array() for each in format_of(path).read(path, Settings()).tensors}


def _write_numpy(path: Path, number: int) -> None:
    with atomic_write(path) as file:
        np.savez(file, **_arrays(number))


def _read_numpy(path: Path) -> Arrays:
    with np.load(path) as found:
        return dict(found)


def _write_compact(path: Path, number: int) -> None:
    weight = np.full(FIXED, 2.0 ** -(number % 8), np.float32)
    write_bytes(path, CODECS["4/8"].encode("fc", [weight]))


def _read_compact(path: Path) -> Arrays:
    reader = ByteReader(path.read_bytes())
    (weight,) = CODECS["4/8"].decode(reader, "fc", [FIXED])
    reader.expect_end()
    number = -np.log2(weight.flat[0])
    assert weight.shape == FIXED
    assert (weight == weight.flat[0]).all()
    return _arrays(int(number))


def _write_json(path: Path, number: int) -> None:
    write_text(path, json.dumps({name: array.tolist() for name, array in _arrays(number).items()}))


def _read_json(path: Path) -> Arrays:
    return {name: np.array(rows) for name, rows in json.loads(path.read_text(encoding="utf-8")).items()}


FORMS: dict[str, tuple[Callable[[Path, int], None], Callable[[Path], Arrays]]] = {
    "net.demi": (_save, _load),
    "net.safetensors": (_save, _load),
    "net.pt": (_save, _load),
    "net.caffemodel": (_write_caffemodel, _read_caffemodel),
    "net.caffemodel.h5": (_write_caffemodel, _read_caffemodel),
    "net.bin": (_write_compact, _read_compact),
    "net.npz": (_write_numpy, _read_numpy),
    "net.json": (_write_json, _read_json),
}


def write(folder: Path, writer: int, writers: int, rounds: int) -> None:
    """Writes every format so many times."""
    for name, (put, _) in FORMS.items():
        for index in range(rounds):
            put(folder / name, 2 + index * writers + writer)  # zeros and ones would look like a mask
        (folder / f"{name}.{writer}.done").touch()


def read(folder: Path, writers: int) -> None:
    """Reads every format until all writers are done with it; prints how often."""
    reads = 0
    for name, (_, get) in FORMS.items():
        done = False
        while not done:
            done = all((folder / f"{name}.{writer}.done").exists() for writer in range(writers))
            if not (folder / name).exists():
                continue
            found = get(folder / name)
            number = int(next(iter(found.values())).flat[0])
            expected = _arrays(number)
            assert found.keys() == expected.keys()
            assert all(np.array_equal(found[each], expected[each]) for each in NAMES), f"{name}: two writers' values"
            reads += 1
    print(reads)


def run(folder: Path, writers: int, readers: int, rounds: int) -> int:
    """Starts all processes; returns how many reads there were, each of a whole file."""
    roles = [("write", writer) for writer in range(writers)] + [("read", reader) for reader in range(readers)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.files.rounds", role, *map(str, (folder, number, writers, rounds))],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for role, number in roles
    ]
    reads = 0
    for process in processes:
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        reads += int(out or 0)
    assert {path.name for path in folder.iterdir() if not path.name.endswith(".done")} == set(FORMS)
    return reads


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), *map(int, sys.argv[3:6]))
    elif sys.argv[1] == "read":
        read(Path(sys.argv[2]), int(sys.argv[4]))
    else:
        print(run(Path(sys.argv[1]), *map(int, sys.argv[2:5])), "reads, each of one writer's whole file")
