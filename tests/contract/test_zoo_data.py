"""One suite over every registered data set of the zoo: what each must do, whatever its source."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from demitasse.errors import DemitasseError
from demitasse.zoo.data import DATASETS, Batch, TrainingData


def no_files(folder: Path) -> None:
    """The data comes with a package."""


def text_file(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text("To be, or not to be\n" * 40, encoding="utf-8")
    return path


def mnist_files(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for prefix, count in (("train", 60), ("t10k", 20)):
        pixels, labels = random.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
        head = struct.pack(">2xBB3I", 8, 3, *pixels.shape)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2xBBI", 8, 1, count) + labels.tobytes())
    return folder


def cifar10_zip(folder: Path) -> Path:
    random = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "cifar.zip", "w") as archive:
        for part, count in (("train", 30), ("test", 5)):
            for name in ("cat", "frog"):
                for number in range(count):
                    file = io.BytesIO()
                    Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "JPEG")
                    archive.writestr(f"cifar/{part}/{name}/{number:04d}.jpg", file.getvalue())
    return folder / "cifar.zip"


def image_folder(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for part, count in (("train", 30), ("val", 5)):
        for name in ("cat", "frog"):
            (folder / "images" / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                file = folder / "images" / part / name / f"{number:04d}.png"
                Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8)).save(file)
    return folder / "images"


def npz_file(folder: Path) -> Path:
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (60, 9, 8, 3), np.uint8), np.arange(60) % 3
    np.savez(folder / "data.npz", x_train=images, y_train=labels[:, None], x_test=images[:20], y_test=labels[:20])
    return folder / "data.npz"


class Source(NamedTuple):
    """How a data set is made small: its files, settings, and the numbers of classes that a model tells apart."""

    files: Callable[[Path], Path | None]
    settings: dict[str, Any]
    classes: int


SOURCES = {
    "digits": Source(no_files, {"batch": 100}, 10),
    "mnist": Source(mnist_files, {"batch": 25, "test_batch": 8, "shift": 2}, 10),
    "fashion_mnist": Source(mnist_files, {"batch": 25, "test_batch": 8, "shift": 2, "mirror": True}, 10),
    "cifar10": Source(cifar10_zip, {"batch": 25, "test_batch": 4}, 2),
    "images": Source(image_folder, {"batch": 25, "test_batch": 4, "size": 8, "shift": 1, "mirror": True}, 2),
    "npz": Source(npz_file, {"batch": 25, "test_batch": 8, "crop": (8, 8)}, 3),
    "text": Source(text_file, {"batch": 8, "test_batch": 3, "block": 10}, 10),
}


def made(name: str, folder: Path, **settings: Any) -> TrainingData:
    source = SOURCES[name]
    return DATASETS[name](source.files(folder), **{**source.settings, **settings})


@pytest.fixture(params=list(DATASETS))
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return request.param


def model(name: str, data: TrainingData) -> nn.Module:
    inputs, labels = next(data.train_batches(0))
    torch.manual_seed(0)
    if labels.ndim > 1:  # a label for each position
        return nn.Embedding(len(data.vocabulary), len(data.vocabulary))  # type: ignore[attr-defined]
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].numel(), SOURCES[name].classes))


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) for pair in zip(left, right, strict=True) for a, b in zip(*pair, strict=True)
    )


def test_every_data_set_is_here():
    assert set(SOURCES) == set(DATASETS), "give the new data set a line in SOURCES"


def test_an_epoch_has_as_many_batches_as_it_says(name: str, tmp_path: Path):
    data = made(name, tmp_path)
    batches = list(data.train_batches(0))
    assert len(batches) == data.steps == max(data.examples // data.batch, 1)
    assert {len(part) for batch in batches for part in batch} == {data.batch}
    inputs, labels = batches[0]
    assert labels.dtype == torch.int64
    assert not inputs.is_floating_point() or (inputs.dtype == torch.float32 and bool(inputs.isfinite().all()))


def test_an_epoch_depends_on_seed_and_number_alone(name: str, tmp_path: Path):
    first, again, other = (made(name, tmp_path, seed=seed) for seed in (1, 1, 2))
    third = list(first.train_batches(3))
    list(again.train_batches(0))
    torch.manual_seed(99)
    np.random.seed(99)
    assert same(third, list(again.train_batches(3)))
    assert not same(third, list(first.train_batches(2)))
    assert not same(third, list(other.train_batches(3)))


def test_a_resume_may_enter_an_epoch_anywhere(name: str, tmp_path: Path):
    data = made(name, tmp_path)
    whole = list(data.train_batches(1))
    for start in range(data.steps + 1):
        assert same(list(data.train_batches(1, start)), whole[start:])


def test_test_batches_are_always_the_same_and_all(name: str, tmp_path: Path):
    data = made(name, tmp_path)
    first = list(data.test_batches())
    assert same(first, list(data.test_batches()))
    assert same(first, list(made(name, tmp_path, seed=2).test_batches()))
    together = list(made(name, tmp_path, test_batch=10**6).test_batches())
    assert len(together) == 1
    assert same(together, [tuple(torch.cat(parts) for parts in zip(*first, strict=True))])  # type: ignore[list-item]


def test_the_loss_can_be_learnt_from_and_is_what_is_measured(name: str, tmp_path: Path):
    data = made(name, tmp_path)
    net = model(name, data)
    batch = next(data.train_batches(0))
    loss = data.loss(net, batch)
    assert loss.ndim == 0
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    with torch.no_grad():
        sums = data.measure(net, batch)
    assert {"count", "loss", data.metric} <= sums.keys()
    assert sums["loss"] / sums["count"] == pytest.approx(loss.item(), rel=1e-5)
    assert sums["count"] == batch[1].numel()


def test_files_that_are_not_there_are_a_typed_error(name: str, tmp_path: Path):
    with pytest.raises(DemitasseError, match="nowhere"):
        DATASETS[name](tmp_path / "nowhere", **SOURCES[name].settings)
