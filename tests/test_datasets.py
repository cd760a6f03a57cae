"""The data sets: what they hold, and downloads that fail or lie."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from demitasse.datasets import FASHION_MNIST, MNIST, Dataset, digits, download, fashion_mnist, mnist
from demitasse.errors import DataError, FileFormatError


def test_digits() -> None:
    data = digits()
    assert data.train_images.shape == (1500, 1, 8, 8)
    assert data.test_images.shape == (297, 1, 8, 8)
    assert data.train_images.dtype == np.uint8
    assert (data.train_images.min(), data.train_images.max()) == (0, 255)
    assert set(data.train_labels) == set(data.test_labels) == set(range(10))
    assert all(np.array_equal(one, other) for one, other in zip(data, digits(), strict=True))


def test_digits_are_those_of_their_labels() -> None:
    data = digits()
    means = np.stack([data.train_images[data.train_labels == k].mean(0).ravel() for k in range(10)])
    distance = ((data.test_images.reshape(-1, 1, 64) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == data.test_labels).mean() > 0.85


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of small files in the place of MNIST's and Fashion-MNIST's, with their checksums."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name in MNIST.checksums:
        array = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2) if "images" in name else np.arange(3, dtype=np.uint8)
        content = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        for collection in (MNIST, FASHION_MNIST):
            monkeypatch.setitem(collection.checksums, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder.as_uri() + "/"


@pytest.mark.parametrize("read", [mnist, fashion_mnist])
def test_images_are_downloaded_once(read: Callable[..., Dataset], mirror: str, tmp_path: Path) -> None:
    data = read(mirrors=["file:///nowhere/", mirror])
    assert data.train_images.shape == (3, 1, 2, 2)
    assert data.test_labels.tolist() == [0, 1, 2]
    shutil.rmtree(tmp_path / "mirror")
    assert read(mirrors=[mirror]).train_labels.tolist() == [0, 1, 2]
    assert [path.name for path in (tmp_path / "cache/demitasse").iterdir()] == [read.__name__.replace("_", "-")]


def test_no_mirror_answers(mirror: str) -> None:
    with pytest.raises(DataError, match=r"cannot be downloaded: file:///nowhere/train-images.*give a folder"):
        mnist(mirrors=["file:///nowhere/"])
    with pytest.raises(DataError, match=r"give a folder with Fashion-MNIST"):
        fashion_mnist(mirrors=["file:///nowhere/"])


def test_a_wrong_checksum_names_both_and_leaves_nothing(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = MNIST.checksums["t10k-images-idx3-ubyte"]
    monkeypatch.setitem(MNIST.checksums, "t10k-images-idx3-ubyte", "0" * 64)
    with pytest.raises(FileFormatError, match=f"t10k-images-idx3-ubyte: .* {found}, expected {'0' * 64}"):
        download(MNIST, tmp_path / "here", [mirror])
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]


def test_a_download_that_is_cut_short(mirror: str, tmp_path: Path) -> None:
    file = tmp_path / "mirror/train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="not a complete gzip file"):
        download(MNIST, tmp_path / "here", [mirror])


def test_a_folder_without_mnist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no train-images-idx3-ubyte and no train-images-idx3-ubyte\.gz"):
        mnist(tmp_path)


def test_the_real_mnist(shared: Path) -> None:
    data = mnist(shared / "data/mnist")
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_images.shape == (10_000, 1, 28, 28)
    assert data.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    for name, checksum in MNIST.checksums.items():
        with gzip.open(shared / f"data/mnist/{name}.gz") as file:
            assert hashlib.sha256(file.read()).hexdigest() == checksum


def test_the_real_fashion_mnist() -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    data = fashion_mnist(folder)
    assert data.train_images.shape == (60_000, 1, 28, 28)
    assert data.test_labels[:5].tolist() == [9, 2, 1, 1, 6]
    for name, checksum in FASHION_MNIST.checksums.items():
        with gzip.open(folder / f"{name}.gz") as file:
            assert hashlib.sha256(file.read()).hexdigest() == checksum
