from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from demitasse.errors import DataError, UsageError
from demitasse.pycaffe import windows

DETECTIONS = [
    {"filename": "a.png", "window": [1, 2, 3, 4], "prediction": np.array([0.25, 0.75])},
    {"filename": "b.png", "window": np.array([5, 6, 7, 8]), "prediction": np.array([[[0.5]], [[0.5]]])},
]


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    rows = "\ufefffilename, xmin, ymin, xmax, ymax\nb.png,1,2,3,4\na.png,5,6,7,8\nb.png,9.0,10,11,12\n"
    path.write_text(rows, encoding="utf-8")
    assert windows.read_windows(path) == [("b.png", [[2, 1, 4, 3], [10, 9, 12, 11]]), ("a.png", [[6, 5, 8, 7]])]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("filename,xmin,ymin,xmax\n", r"windows.csv:1: there is no column 'ymax'"),
        ("", "no column 'filename'"),
        (
            "filename,xmin,ymin,xmax,ymax\na.png,1,2,3,4\na.png,1,2,x,4\n",
            r"windows.csv:3: found .*; expected four numbers",
        ),
        ("filename,xmin,ymin,xmax,ymax\na.png,1,2\n", "four numbers"),
        ("filename,xmin,ymin,xmax,ymax\na.png,1,2,inf,3\n", "four numbers"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "windows.csv").write_text(text)
    with pytest.raises(DataError, match=match):
        windows.read_windows(tmp_path / "windows.csv")


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        windows.read_windows(tmp_path / "missing.csv")


def test_writing(tmp_path: Path) -> None:
    for ending in ("csv", "h5", "npy"):
        windows.write_detections(tmp_path / f"found.{ending}", DETECTIONS)
    with (tmp_path / "found.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["filename", "ymin", "xmin", "ymax", "xmax", "class0", "class1"]
    assert rows[2] == ["b.png", "5", "6", "7", "8", "0.5", "0.5"]
    with h5py.File(tmp_path / "found.h5") as file:
        assert file["filename"].asstr()[:].tolist() == ["a.png", "b.png"]
        assert file["window"][1].tolist() == [5, 6, 7, 8]
        assert file["prediction"][0].tolist() == [0.25, 0.75]
    assert np.load(tmp_path / "found.npy").tolist() == [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.parametrize("ending", ["csv", "h5", "npy"])
def test_nothing_found(tmp_path: Path, ending: str) -> None:
    windows.write_detections(tmp_path / f"found.{ending}", [])
    assert (tmp_path / f"found.{ending}").stat().st_size


def test_unknown_endings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the extension is '\.txt'; expected one of \.csv, \.h5, \.npy"):
        windows.write_detections(tmp_path / "found.txt", DETECTIONS)
    with pytest.raises(UsageError, match="the extension is ''; expected one of"):
        windows.check_ending("found")
    windows.check_ending("found.CSV")
