"""Small images for experiments: MNIST, Fashion-MNIST, and the digits of scikit-learn."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.request
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demitasse.errors import DataError, FileFormatError
from demitasse.extras import needs
from demitasse.files import make_folder, write_bytes
from demitasse.idx import read_idx

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"


class IdxCollection(NamedTuple):
    """Images and labels in four IDX files, which can be downloaded.

    Attributes:
        title: its name.
        folder: name of its folder in the cache.
        mirrors: addresses of folders to download from, tried in order.
        checksums: file -> SHA-256 of its content, uncompressed, so that the program that compressed it does not matter.
    """

    title: str
    folder: str
    mirrors: Sequence[str]
    checksums: dict[str, str]


MNIST = IdxCollection(
    "MNIST",
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    {
        f"train-{_IMAGES}": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        f"train-{_LABELS}": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        f"t10k-{_IMAGES}": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        f"t10k-{_LABELS}": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
FASHION_MNIST = IdxCollection(
    "Fashion-MNIST",
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    {
        f"train-{_IMAGES}": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        f"train-{_LABELS}": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        f"t10k-{_IMAGES}": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        f"t10k-{_LABELS}": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)
_LARGEST = 64 << 20
_TIMEOUT = 30


class Dataset(NamedTuple):
    """Images (n, 1, height, width) uint8, 0 to 255, and labels (n,) int64, to train and to test with."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def digits() -> Dataset:
    """Returns scikit-learn's 1,797 digits: 8x8 pixels, 1,500 to train and 297 to test with.

    The split is random but always the same. The 17 grey levels are scaled to 0 to 255.

    Raises:
        MissingPackageError: scikit-learn is not installed.

    Reference: Alpaydin and Kaynak 1998, UCI Optical Recognition of Handwritten Digits.
    """
    with needs("sklearn"):
        from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = np.rint(values[order] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    classes = labels[order].astype(np.int64)
    return Dataset(images[:1500], classes[:1500], images[1500:], classes[1500:])


def mnist(folder: str | Path | None = None, mirrors: Sequence[str] = ()) -> Dataset:
    """Returns MNIST: 28x28 pixels, 60,000 digits to train and 10,000 to test with.

    Args:
        folder: the folder with its four files, plain or ``.gz``; None downloads them once to the cache folder
            (``$XDG_CACHE_HOME/demitasse/mnist``, else ``~/.cache/demitasse/mnist``).
        mirrors: addresses of folders to download from, tried in order, instead of the usual ones.

    Raises:
        DataError: a file is missing in the folder, or no mirror answers.
        FileFormatError: a file is cut short or of another kind, or a download has the wrong checksum.

    Reference: LeCun, Bottou, Bengio, Haffner 1998.
    """
    return _read(MNIST, folder, mirrors)


def fashion_mnist(folder: str | Path | None = None, mirrors: Sequence[str] = ()) -> Dataset:
    """Returns Fashion-MNIST: articles of clothing in ten classes, in the sizes and numbers of MNIST.

    Args:
        folder: see :func:`mnist`.
        mirrors: see :func:`mnist`.

    Raises:
        DataError: see :func:`mnist`.
        FileFormatError: see :func:`mnist`.

    Reference: Xiao, Rasul, Vollgraf 2017, Fashion-MNIST (arXiv 1708.07747).
    """
    return _read(FASHION_MNIST, folder, mirrors)


def _read(collection: IdxCollection, folder: str | Path | None, mirrors: Sequence[str]) -> Dataset:
    place = download(collection, mirrors=mirrors) if folder is None else Path(folder)
    train_images, train_labels, test_images, test_labels = (
        read_idx(_find(place, name), axes=3 if "images" in name else 1) for name in collection.checksums
    )
    return Dataset(
        train_images[:, None], train_labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64)
    )


def download(collection: IdxCollection, folder: str | Path | None = None, mirrors: Sequence[str] = ()) -> Path:
    """Downloads the files that are missing in the folder, and checks each before it writes it.

    Args:
        collection: what to download.
        folder: where to; None for the cache folder.
        mirrors: see :func:`mnist`.

    Returns:
        The folder.

    Raises:
        DataError: no mirror answers.
        FileFormatError: a download has the wrong checksum.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(folder) if folder is not None else cache / "demitasse" / collection.folder
    make_folder(place)
    for name, checksum in collection.checksums.items():
        target = place / f"{name}.gz"
        if target.exists():
            continue
        content = _fetch(f"{name}.gz", mirrors or collection.mirrors, collection.title)
        _verify(content, name, checksum)
        write_bytes(target, content)
    return place


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise DataError(f"{folder}: there is no {name} and no {name}.gz")


def _fetch(name: str, mirrors: Sequence[str], title: str) -> bytes:
    failures = []
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=_TIMEOUT) as answer:
                content: bytes = answer.read(_LARGEST)
                return content
        except (OSError, HTTPException) as error:
            failures.append(f"{mirror}{name}: {error}")
    raise DataError(f"{name} cannot be downloaded: {'; '.join(failures)}; give a folder with {title} instead")


def _verify(content: bytes, name: str, expected: str) -> None:
    try:
        with gzip.open(BytesIO(content)) as stream:
            found = hashlib.sha256(stream.read(_LARGEST)).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{name}.gz: the download is not a complete gzip file: {error}") from error
    if found != expected:
        raise FileFormatError(f"{name}: the download has SHA-256 {found}, expected {expected}")
