"""convert_mnist_data: IDX files in, records under eight digits out."""

from __future__ import annotations

import gzip
import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.sources.lmdb_store import LmdbReader
from demitasse.caffe.tools.convert_mnist_data import convert_mnist_data, convert_mnist_siamese_data
from demitasse.errors import FileFormatError, UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 4), np.uint8)
LABELS = np.arange(12, dtype=np.uint8) % 10


def idx(path: Path, array: np.ndarray, pack=bytes) -> Path:
    path.write_bytes(pack(struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()))
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_records(tmp_path: Path, pack) -> None:
    images, labels = idx(tmp_path / "i", IMAGES, pack), idx(tmp_path / "l", LABELS, pack)
    assert convert_mnist_data(images, labels, tmp_path / "db") == 12
    reader = LmdbReader(str(tmp_path / "db"))
    for index, (key, value) in enumerate(islice(reader.records(), 12)):
        datum = schema.Datum.FromString(value)
        assert key == b"%08d" % index
        assert (datum.channels, datum.height, datum.width, datum.label) == (1, 3, 4, LABELS[index])
        assert datum.data == IMAGES[index].tobytes()
        assert not datum.HasField("encoded")


def test_other_numbers_of_images_and_labels(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "i", IMAGES), idx(tmp_path / "l", LABELS[:7])
    with pytest.raises(FileFormatError, match=r"12 images, but .* has 7 labels"):
        convert_mnist_data(images, labels, tmp_path / "db")


def test_a_file_cut_short_leaves_no_database(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "i", IMAGES), idx(tmp_path / "l", LABELS)
    images.write_bytes(images.read_bytes()[:-5])
    with pytest.raises(FileFormatError, match=r"sizes \[12, 3, 4\] need 144 bytes of values, found 139"):
        convert_mnist_data(images, labels, tmp_path / "db")
    assert not (tmp_path / "db").exists()


def test_files_in_the_wrong_order(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "i", IMAGES), idx(tmp_path / "l", LABELS)
    with pytest.raises(FileFormatError, match="not an IDX file of bytes with 3 axes"):
        convert_mnist_data(labels, images, tmp_path / "db")


def test_an_existing_database_is_refused(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "i", IMAGES), idx(tmp_path / "l", LABELS)
    (tmp_path / "db").mkdir()
    with pytest.raises(UsageError, match="already exists"):
        convert_mnist_data(images, labels, tmp_path / "db")


def pairs(path: Path, seed: int) -> list[schema.Message]:
    images, labels = idx(path / "i", IMAGES), idx(path / "l", LABELS)
    assert convert_mnist_siamese_data(images, labels, path / f"db{seed}", seed=seed) == 12
    reader = LmdbReader(str(path / f"db{seed}"))
    records = list(islice(reader.records(), 12))
    assert [key for key, _ in records] == [b"%08d" % index for index in range(12)]
    return [schema.Datum.FromString(value) for _, value in records]


def test_pairs_are_of_two_digits_with_their_likeness(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    numbers = {image.tobytes(): label for image, label in zip(IMAGES, LABELS, strict=True)}
    found = [datum for seed in range(20) for datum in pairs(tmp_path, seed)]
    for datum in found:
        assert (datum.channels, datum.height, datum.width) == (2, 3, 4)
        left, right = numbers[datum.data[:12]], numbers[datum.data[12:]]
        assert datum.label == (left == right)
    assert 0 < sum(datum.label for datum in found) < len(found) / 2
    assert [datum.data for datum in pairs(tmp_path / "other", 3)] == [datum.data for datum in found[36:48]]


def test_pairs_of_other_numbers_of_images_and_labels(tmp_path: Path) -> None:
    images, labels = idx(tmp_path / "i", IMAGES), idx(tmp_path / "l", LABELS[:7])
    with pytest.raises(FileFormatError, match=r"12 images, but .* has 7 labels"):
        convert_mnist_siamese_data(images, labels, tmp_path / "db")
