"""Reads windows of images from a table, and writes detections."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from demitasse.caffe.models.blobs import Array
from demitasse.errors import DataError, UsageError
from demitasse.extras import needs
from demitasse.files import atomic_write

COLUMNS = ("ymin", "xmin", "ymax", "xmax")
Detection = dict[str, Any]


def read_windows(path: str | Path) -> list[tuple[str, list[list[int]]]]:
    """Reads a CSV file with the columns filename, xmin, ymin, xmax, ymax, in any order.

    Returns:
        The images in order, each with its windows (ymin, xmin, ymax, xmax); names are relative to the working
        directory.

    Raises:
        DataError: the file cannot be read, lacks a column, or contains a value that is not a number; the message has
            the line.
    """
    images: dict[str, list[list[int]]] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in ("filename", *COLUMNS) if name not in (rows.fieldnames or [])]
            if missing:
                raise DataError(f"{path}:1: there is no column {missing[0]!r}; expected filename,xmin,ymin,xmax,ymax")
            for row in rows:
                images.setdefault(row["filename"], []).append(_window(row, f"{path}:{rows.line_num}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return list(images.items())


def _window(row: dict[str, str], place: str) -> list[int]:
    try:
        return [int(float(row[name])) for name in COLUMNS]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{place}: found the window {[row[name] for name in COLUMNS]}; expected four numbers") from None


def write_detections(path: str | Path, detections: Sequence[Detection]) -> None:
    """Writes detections as ``.csv``, ``.h5`` or ``.npy``.

    A ``.csv`` file has a row for each window, with filename, ymin, xmin, ymax, xmax and a column for each class; an
    ``.h5`` file the datasets ``filename``, ``window`` (n, 4) and ``prediction`` (n, classes); an ``.npy`` file only
    the predictions.

    Raises:
        UsageError: the path has another extension.
    """
    check_ending(path)
    write = _WRITERS[Path(path).suffix.lower()]
    predictions = np.array([np.ravel(each["prediction"]) for each in detections], np.float32)
    with atomic_write(path) as file:
        write(file, detections, predictions)


def check_ending(path: str | Path) -> None:
    """Raises UsageError for an extension that :func:`write_detections` does not support."""
    if Path(path).suffix.lower() not in _WRITERS:
        raise UsageError(f"{path}: the extension is {Path(path).suffix!r}; expected one of {', '.join(_WRITERS)}")


def _csv(out: BinaryIO, detections: Sequence[Detection], predictions: Array) -> None:
    classes = predictions.shape[1] if len(predictions) else 0
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["filename", *COLUMNS, *(f"class{index}" for index in range(classes))])
    for detection, prediction in zip(detections, predictions, strict=True):
        writer.writerow([detection["filename"], *map(int, detection["window"]), *prediction.tolist()])
    out.write(text.getvalue().encode(errors="surrogateescape"))


def _h5(out: BinaryIO, detections: Sequence[Detection], predictions: Array) -> None:
    with needs("h5py"):
        import h5py
    buffer = BytesIO()  # HDF5 itself crashes when the disk is full
    with h5py.File(buffer, "w") as file:
        file["filename"] = np.array([each["filename"] for each in detections], h5py.string_dtype())
        file["window"] = np.array([each["window"] for each in detections], np.int64).reshape(-1, 4)
        file["prediction"] = predictions
    out.write(buffer.getvalue())


def _npy(out: BinaryIO, detections: Sequence[Detection], predictions: Array) -> None:
    np.save(out, predictions)


_WRITERS: dict[str, Callable[[BinaryIO, Sequence[Detection], Array], None]] = {
    ".csv": _csv,
    ".h5": _h5,
    ".npy": _npy,
}
