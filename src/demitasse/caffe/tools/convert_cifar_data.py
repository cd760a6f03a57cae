"""Converts CIFAR-10's binary files to databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demitasse.caffe import schema
from demitasse.caffe.sources.store import Record, write_database
from demitasse.errors import FileFormatError
from demitasse.files import make_folder
from demitasse.progress import tracked

Rows = NDArray[np.uint8]

_SIDE, _CHANNELS, _CLASSES = 32, 3, 10
_BYTES = 1 + _CHANNELS * _SIDE * _SIDE
_PARTS = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}


def convert_cifar_data(source: str | Path, target: str | Path, backend: str = "lmdb") -> dict[Path, int]:
    """Writes two databases with one Datum per image, red, green, blue, under the keys ``%05d``.

    Args:
        source: the folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.
        target: the folder for the new databases ``cifar10_train_lmdb`` and ``cifar10_test_lmdb`` (or ``_leveldb``).
        backend: ``lmdb`` or ``leveldb``.

    Returns:
        Each database with the number of its records.

    Raises:
        FileFormatError: a file is missing, cut short, or not of CIFAR-10.
        UnknownNameError: there is no such backend.
        UsageError: a database exists already, or plyvel is missing for LevelDB.
    """
    rows = {part: np.concatenate([_read(Path(source) / name) for name in names]) for part, names in _PARTS.items()}
    make_folder(Path(target))
    targets = {part: Path(target) / f"cifar10_{part}_{backend}" for part in rows}
    return {targets[part]: write_database(targets[part], _records(rows[part]), backend) for part in rows}


def _read(path: Path) -> Rows:
    """Returns the images of a file, (n, 3073): the class, then the planes of red, green and blue."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {os.strerror(error.errno or 0)}") from error
    if not data.size or data.size % _BYTES:
        raise FileFormatError(f"{path}: found {data.size} bytes; expected {_BYTES} for each image")
    rows = data.reshape(-1, _BYTES)
    if rows[:, 0].max() >= _CLASSES:
        raise FileFormatError(f"{path}: found class {rows[:, 0].max()}; expected 0 to {_CLASSES - 1} of CIFAR-10")
    return rows


def _records(rows: Rows) -> Iterator[Record]:
    for index in tracked(range(len(rows)), "Converting"):
        row = rows[index]
        datum = schema.Datum(channels=_CHANNELS, height=_SIDE, width=_SIDE, data=row[1:].tobytes(), label=int(row[0]))
        yield f"{index:05d}".encode(), datum.SerializeToString()
