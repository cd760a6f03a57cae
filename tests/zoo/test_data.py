"""Data: what an epoch holds depends on seed and epoch alone; broken sources are named."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demitasse.datasets import Dataset
from demitasse.errors import DataError, FileFormatError, UsageError
from demitasse.zoo.data import DATASETS, Batch
from demitasse.zoo.data.cifar10 import read_images
from demitasse.zoo.data.images import ImageTrainingData, channel_statistics, hold_out, shifted


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def random_images(count: int = 40, side: int = 8) -> Dataset:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 3, side, side), np.uint8)
    labels = random.integers(0, 4, count)
    return Dataset(images, labels, images[:10], labels[:10])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_preparation_gives_the_images_of_the_data(channels: int) -> None:
    images = random_images()
    images = images._replace(
        train_images=images.train_images[:, :channels], test_images=images.test_images[:, :channels]
    )
    data = ImageTrainingData(images, holdout=8)
    assert data.preparation is not None
    tests, _ = next(data.test_batches())
    for pixels, expected in zip(data.images.test_images, tests, strict=True):
        found = data.preparation(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_images_of_other_channels_have_no_preparation() -> None:
    images = random_images()
    two = images._replace(train_images=images.train_images[:, :2], test_images=images.test_images[:, :2])
    assert ImageTrainingData(two).preparation is None


def test_classes_are_called_as_their_folders(tmp_path: Path) -> None:
    data = DATASETS["cifar10"](write_zip(tmp_path / "images.zip"), batch=2)
    assert list(data.classes) == ["cat", "frog"]
    assert data.preparation is not None
    assert data.preparation.shape == (3, 32, 32)


def jpeg(side: int = 32, colour: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (colour, 10, 200)).save(file, "JPEG")
    return file.getvalue()


def write_zip(path: Path, **changed: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for part, count in (("train", 3), ("test", 2)):
            for label, name in enumerate(("cat", "frog")):
                for number in range(count):
                    archive.writestr(f"cifar/{part}/{name}/{number:04d}.jpg", jpeg(colour=100 * label + number))
        for name, content in changed.items():
            archive.writestr(f"cifar/train/{name}.jpg", content)
    return path


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) for pair in zip(left, right, strict=True) for a, b in zip(*pair, strict=True)
    )


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    first, again, other = (
        ImageTrainingData(random_images(), shift=2, mirror=True, batch=8, seed=seed) for seed in (1, 1, 2)
    )
    list(first.train_batches(0))
    third = list(first.train_batches(3))
    assert same(third, list(again.train_batches(3)))
    assert not same(third, list(first.train_batches(4)))
    assert not same(third, list(other.train_batches(3)))


def test_an_epoch_can_be_entered_anywhere() -> None:
    data = ImageTrainingData(random_images(), shift=2, mirror=True, batch=8)
    assert same(list(data.train_batches(5))[3:], list(data.train_batches(5, start=3)))


def test_an_epoch_has_every_image_once() -> None:
    data = ImageTrainingData(random_images(), batch=8)
    seen = torch.cat([images for images, _ in data.train_batches(0)]).flatten(1).sum(1)
    everything = data._normalised(data.images.train_images).flatten(1).sum(1)
    assert data.steps == 5
    assert torch.equal(seen.sort().values, everything.sort().values)


def test_normalised_images_have_mean_0_and_deviation_1() -> None:
    data = ImageTrainingData(random_images(), batch=40)
    images, _ = next(data.train_batches(0))
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_statistics_of_one_grey_level() -> None:
    mean, deviation = channel_statistics(np.full((2, 1, 4, 4), 51, np.uint8))
    assert mean.item() == pytest.approx(0.2)
    assert deviation.item() == pytest.approx(1e-6)


def test_shifting_brings_black_in() -> None:
    pixels = np.arange(1, 10, dtype=np.uint8).reshape(1, 1, 3, 3).repeat(3, 0)
    moved = shifted(pixels, 1, np.array([1, 0, 2]), np.array([1, 0, 1]))
    assert np.array_equal(moved[0], pixels[0])
    assert moved[1, 0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 4, 5]]
    assert moved[2, 0].tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]]


def test_images_held_out_are_tested_and_not_trained() -> None:
    images = random_images()
    data, plain = ImageTrainingData(images, batch=8, holdout=10), ImageTrainingData(images, batch=8)
    assert (data.examples, data.steps) == (30, 3)
    ((tested, labels),) = data.test_batches()
    assert torch.equal(tested, plain._normalised(images.train_images[30:]))
    assert labels.tolist() == images.train_labels[30:].tolist()
    trained = torch.cat([batch for batch, _ in data.train_batches(0)]).flatten(1).sum(1)
    assert not set(trained[:24].tolist()) & set(tested.flatten(1).sum(1).tolist())
    assert next(DATASETS["digits"](None, holdout=100).test_batches())[0].shape == (100, 1, 8, 8)


@pytest.mark.parametrize("count", [-1, 40])
def test_images_that_cannot_be_held_out(count: int) -> None:
    with pytest.raises(UsageError, match=f"holdout is {count}; expected 0 or more, and less than the 40 training"):
        hold_out(random_images(), count)


def test_augmentation_mirrors_about_half() -> None:
    pixels = np.zeros((100, 1, 2, 2), np.uint8)
    pixels[..., 0] = 255
    data = ImageTrainingData(
        Dataset(pixels, np.zeros(100, np.int64), pixels, np.zeros(100, np.int64)), mirror=True, batch=100
    )
    images, _ = next(data.train_batches(0))
    assert 30 < (images[:, 0, 0, 1] > 0).sum() < 70


def test_digits_enlarged() -> None:
    small, large = DATASETS["digits"](None), DATASETS["digits"](None, enlarge=True)
    assert next(small.test_batches())[0].shape == (297, 1, 8, 8)
    assert next(large.test_batches())[0].shape == (297, 1, 28, 28)
    with pytest.raises(UsageError, match="come with scikit-learn"):
        DATASETS["digits"](Path("x"))


def test_cifar10_from_zip_and_from_folder(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "cifar.zip")
    found = read_images(path)
    assert found.train_images.shape == (6, 3, 32, 32)
    assert found.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.test_labels.tolist() == [0, 0, 1, 1]
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    for left, right in zip(found, read_images(tmp_path / "unpacked/cifar"), strict=True):
        assert np.array_equal(left, right)


def test_cifar10_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "cifar.zip")
    first = read_images(path)
    monkeypatch.setattr(Image, "open", None)
    assert np.array_equal(first.train_images, read_images(path).train_images)


def test_a_changed_zip_is_decoded_again(tmp_path: Path) -> None:
    read_images(write_zip(tmp_path / "cifar.zip"))
    path = write_zip(tmp_path / "cifar.zip", **{"cat/0009": jpeg()})
    assert len(read_images(path).train_labels) == 7


def test_cifar10_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.zip: there is no such file; expected a zip file or folder"):
        DATASETS["cifar10"](tmp_path / "none.zip")
    with pytest.raises(DataError, match="give the zip file or the folder"):
        DATASETS["cifar10"](None)


def test_cifar10_without_test_images(tmp_path: Path) -> None:
    (tmp_path / "train/cat").mkdir(parents=True)
    (tmp_path / "train/cat/0.jpg").write_bytes(jpeg())
    with pytest.raises(DataError, match=r"there is no test/<class>/<n>\.jpg"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jpeg()[:200], "cat/x.jpg: not a complete JPEG"),
        (b"", "cat/x.jpg: not a complete JPEG"),
        (jpeg(side=16), "cat/x.jpg: found 16x16 pixels, expected 32x32"),
    ],
    ids=["cut", "empty", "size"],
)
def test_a_broken_image(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_images(write_zip(tmp_path / "cifar.zip", **{"cat/x": content}))
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_a_cut_zip(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "cifar.zip")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match="not a complete zip file"):
        read_images(path)


def test_broken_prepared_images(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "cifar.zip")
    read_images(path)
    cached = next((tmp_path / "cache").rglob("*.npz"))
    cached.write_bytes(cached.read_bytes()[:500])
    with pytest.raises(FileFormatError, match=r"prepared images are broken.*delete the file"):
        read_images(path)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("To be, or not to be\n" * 50, encoding="utf-8")
    return path


def test_text_in_blocks(text: Path) -> None:
    data = DATASETS["text"](text, block=10, batch=4)
    tokens, following = next(data.train_batches(0))
    assert tokens.shape == following.shape == (4, 10)
    assert torch.equal(tokens[:, 1:], following[:, :-1])
    assert data.steps == 900 // 10 // 4
    read = torch.cat([batch[0].flatten() for batch in data.test_batches()])
    assert torch.equal(read, torch.from_numpy(data.test_tokens[:90]))


def test_text_of_a_uniform_model_costs_the_logarithm(text: Path) -> None:
    data = DATASETS["text"](text, block=10, batch=4)
    size = len(data.vocabulary)

    class Uniform(torch.nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*tokens.shape, size)

    batch = next(data.train_batches(0))
    assert data.loss(Uniform(), batch).item() == pytest.approx(np.log(size))
    sums = data.measure(Uniform(), batch)
    assert sums["loss"] / sums["count"] == pytest.approx(np.log(size))


def test_broken_texts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the file with the text"):
        DATASETS["text"](None)
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        DATASETS["text"](tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 " * 10)
    with pytest.raises(FileFormatError, match=r"latin\.txt: byte 3: not UTF-8"):
        DATASETS["text"](tmp_path / "latin.txt")
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(DataError, match="5 characters, too few for blocks of 128"):
        DATASETS["text"](tmp_path / "short.txt")


def test_mnist_from_its_files(tmp_path: Path) -> None:
    for prefix, count in (("train", 30), ("t10k", 20)):
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), np.uint8)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">2xBB3I", 8, 3, *pixels.shape) + pixels.tobytes()
        )
        labels = (np.arange(count) % 10).astype(np.uint8)
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2xBBI", 8, 1, count) + labels.tobytes())
    data = DATASETS["mnist"](tmp_path, batch=10)
    assert next(data.train_batches(0))[0].shape == (10, 1, 28, 28)
    ((images, labels),) = data.test_batches()
    assert images.shape == (20, 1, 28, 28)
    assert labels.tolist() == [*range(10)] * 2


@pytest.mark.slow
def test_cifar10_of_the_reference_data(shared: Path) -> None:
    data = DATASETS["cifar10"](shared / "data/cifar10/cifar10-jpeg.zip")
    assert data.examples == 50_000
    images, labels = next(data.train_batches(0))
    assert images.shape == (128, 3, 32, 32)
    assert len(set(labels.tolist())) == 10
