"""convert_cifar_data: CIFAR-10's binary files in, two databases out."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.sources.lmdb_store import LmdbReader
from demitasse.caffe.tools.convert_cifar_data import convert_cifar_data
from demitasse.errors import FileFormatError, UnknownNameError, UsageError

NAMES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 2, 3072), np.uint8)
CLASSES = np.arange(12, dtype=np.uint8).reshape(6, 2) % 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, images, classes in zip(NAMES, IMAGES, CLASSES, strict=True):
        (tmp_path / name).write_bytes(np.concatenate([classes[:, None], images], axis=1).tobytes())
    return tmp_path


def test_records(folder: Path) -> None:
    made = convert_cifar_data(folder, folder / "out")
    train, test = folder / "out" / "cifar10_train_lmdb", folder / "out" / "cifar10_test_lmdb"
    assert made == {train: 10, test: 2}
    for database, images, classes in ((train, IMAGES[:5], CLASSES[:5]), (test, IMAGES[5:], CLASSES[5:])):
        rows = zip(images.reshape(-1, 3072), classes.ravel(), strict=True)
        for index, ((key, value), (image, label)) in enumerate(
            zip(islice(LmdbReader(str(database)).records(), len(images) * 2), rows, strict=True)
        ):
            datum = schema.Datum.FromString(value)
            assert key == b"%05d" % index
            assert (datum.channels, datum.height, datum.width, datum.label) == (3, 32, 32, label)
            assert datum.data == image.tobytes()


def test_a_missing_file_is_named_and_leaves_no_database(folder: Path) -> None:
    (folder / "test_batch.bin").unlink()
    with pytest.raises(FileFormatError, match=r"test_batch\.bin: cannot be read: No such file"):
        convert_cifar_data(folder, folder / "out")
    assert not (folder / "out").exists()


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3074)])
def test_a_file_cut_short(folder: Path, content: bytes) -> None:
    (folder / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(FileFormatError, match=f"data_batch_2.bin: found {len(content)} bytes; expected 3073 for each"):
        convert_cifar_data(folder, folder / "out")


def test_a_file_of_another_kind(folder: Path) -> None:
    (folder / "data_batch_4.bin").write_bytes(b"\x0b" + bytes(3072))
    with pytest.raises(FileFormatError, match=r"data_batch_4\.bin: found class 11; expected 0 to 9 of CIFAR-10"):
        convert_cifar_data(folder, folder / "out")


def test_wrong_use(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="lmbd"):
        convert_cifar_data(folder, folder / "out", "lmbd")
    convert_cifar_data(folder, folder / "out")
    with pytest.raises(UsageError, match="already exists"):
        convert_cifar_data(folder, folder / "out")
