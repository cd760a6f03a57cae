"""HDF5Data: rows across files, in order or shuffled, resumed at any row."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.sources.hdf5 import HDF5Data
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

ROWS = (5, 3, 4)


def write(path: Path, **datasets: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    start, paths = 0, []
    for index, rows in enumerate(ROWS):
        labels = np.arange(start, start + rows, dtype=np.int64)
        path = tmp_path / f"{index}.h5"
        write(path, data=labels[:, None] * np.ones((1, 2)), label=labels)
        paths.append(str(path))
        start += rows
    (tmp_path / "list.txt").write_text("\n".join(paths) + "\n")
    return tmp_path / "list.txt"


def source(path: Path, settings: str = "batch_size: 4") -> HDF5Data:
    text = (
        'layer { name: "d" type: "HDF5Data" top: "data" top: "label" '
        f'hdf5_data_param {{ source: "{path}" {settings} }} }}'
    )
    return HDF5Data(prototxt.parse(text, schema.NetParameter(), "net").layer[0], schema.TRAIN)


def labels(data: HDF5Data, batches: int) -> list[int]:
    found = []
    for _ in range(batches):
        rows, label = data.next_batch()
        np.testing.assert_array_equal(rows.numpy(), label.numpy()[:, None] * np.ones((1, 2)))
        found += label.int().tolist()
    return found


def test_rows_follow_the_list_and_wrap_round(listed: Path) -> None:
    data = source(listed)
    assert data.shapes == [(4, 2), (4,)]
    assert labels(data, 7) == [i % 12 for i in range(28)]


def test_a_batch_may_be_longer_than_all_files(listed: Path) -> None:
    assert labels(source(listed, "batch_size: 30"), 1) == [i % 12 for i in range(30)]


def test_shuffled_epochs_have_every_row_once_in_another_order(listed: Path) -> None:
    data = source(listed, "batch_size: 4 shuffle: true")
    epochs = [labels(data, 3) for _ in range(4)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    data.seed(0)
    assert labels(data, 3) == epochs[0]
    data.seed(1)
    assert labels(data, 3) != epochs[0]


@pytest.mark.parametrize("settings", ["batch_size: 5", "batch_size: 5 shuffle: true"])
@pytest.mark.parametrize("before", [0, 1, 2, 7])
def test_a_resumed_run_reads_the_same_batches(listed: Path, settings: str, before: int) -> None:
    unbroken = source(listed, settings)
    unbroken.seed(3)
    labels(unbroken, before)
    resumed = source(listed, settings)
    resumed.restore(json.loads(json.dumps(unbroken.state())))
    assert labels(resumed, 10) == labels(unbroken, 10)


def test_a_state_of_other_files_is_refused(listed: Path) -> None:
    data = source(listed)
    with pytest.raises(DataError, match="the state has 2 HDF5 files, but the list has 3"):
        data.restore({**data.state(), "order": [0, 1]})
    with pytest.raises(DataError, match="the state is at row 9 of 5"):
        data.restore({**data.state(), "row": 9})


def test_the_list_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt.*No such file"):
        source(tmp_path / "nowhere.txt")


def test_the_list_is_empty(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(" \n")
    with pytest.raises(DataError, match="contains no HDF5 files"):
        source(tmp_path / "list.txt")


def one_file(tmp_path: Path) -> Path:
    (tmp_path / "list.txt").write_text(str(tmp_path / "a.h5"))
    return tmp_path / "a.h5"


def test_a_file_is_missing_or_of_another_kind(tmp_path: Path) -> None:
    path = one_file(tmp_path)
    with pytest.raises(DataError, match=r"a\.h5: not an HDF5 file that can be read"):
        source(tmp_path / "list.txt")
    path.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(DataError, match=r"a\.h5: not an HDF5 file that can be read"):
        source(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"data": np.ones((2, 3))}, r"a\.h5: there is no dataset 'label' with rows; the file has \['data'\]"),
        ({"data": np.ones((2, 3)), "label": np.array(1.0)}, "no dataset 'label' with rows"),
        ({"data": np.ones((2, 3)), "label": np.ones(3)}, "numbers of rows .*'data': 2, 'label': 3"),
        ({"data": np.ones((0, 3)), "label": np.ones(0)}, "expected the same number above 0"),
        (
            {"data": np.ones((2, 3)), "label": np.array([b"a", b"b"])},
            "'/label' has values of type [|]S1",
        ),
    ],
)
def test_datasets_that_do_not_fit(tmp_path: Path, datasets: dict[str, np.ndarray], message: str) -> None:
    write(one_file(tmp_path), **datasets)
    with pytest.raises(DataError, match=message):
        source(tmp_path / "list.txt")


def test_files_whose_rows_differ_in_shape(listed: Path, tmp_path: Path) -> None:
    write(tmp_path / "1.h5", data=np.ones((3, 7)), label=np.ones(3))
    data = source(listed)
    data.next_batch()
    with pytest.raises(DataError, match=r"1\.h5: rows of dataset 'data' have shape \[7\], .* \[2\]"):
        data.next_batch()


def test_a_batch_size_is_needed(listed: Path) -> None:
    with pytest.raises(NetError, match="batch_size"):
        source(listed, "")
