"""Arrays in .npz files: images of uint8, and inputs as they are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import demitasse
from demitasse.errors import DataError, DemitasseError, FileFormatError, UsageError
from demitasse.zoo.data import DATASETS, TrainingData

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (40, 8, 6, 3), np.uint8)
LABELS = np.arange(40) % 4


def made(folder: Path, settings: dict[str, Any] | None = None, **arrays: Any) -> TrainingData:
    np.savez(folder / "data.npz", **arrays)
    return DATASETS["npz"](folder / "data.npz", **{"batch": 8, **(settings or {})})


def inputs_of(data: TrainingData) -> torch.Tensor:
    return torch.cat([inputs for inputs, _ in data.test_batches()])


@pytest.mark.parametrize("names", [("train_images", "train_labels", "test_images", "test_labels"), None])
@pytest.mark.parametrize("layout", ["last", "first", "none"])
def test_images_of_any_layout(layout: str, names: tuple[str, ...] | None, tmp_path: Path) -> None:
    """The names of the house, and those of Keras, whose labels may be a column."""
    images = {"last": IMAGES, "first": IMAGES.transpose(0, 3, 1, 2), "none": IMAGES[..., 0]}[layout]
    names = names or ("x_train", "y_train", "x_test", "y_test")
    arrays = dict(zip(names, (images, LABELS[:, None], images[:10], LABELS[:10].astype(np.uint8)), strict=True))
    data = made(tmp_path, {"mean": 1, "scale": 0.5}, **arrays)
    expected = (IMAGES[:10, ..., :1] if layout == "none" else IMAGES[:10]).transpose(0, 3, 1, 2)
    torch.testing.assert_close(inputs_of(data), torch.from_numpy((expected.astype(np.float32) - 1) * 0.5))
    order = "grey" if layout == "none" else "rgb"
    assert data.preparation == demitasse.Preparation(order, (8, 6), 1, 0.5)
    inputs, labels = next(data.train_batches(0))
    assert (len(inputs), labels.dtype) == (8, torch.int64)


def test_images_are_resized_and_their_channels_arranged(tmp_path: Path) -> None:
    settings = {"size": (10, 12), "crop": 8, "channels": "bgr", "classes": ("a", "b", "c", "d")}
    data = made(tmp_path, settings, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:3], y_test=LABELS[:3])
    assert data.preparation is not None
    assert data.preparation.shape == (3, 8, 8)
    for found, image in zip(inputs_of(data), IMAGES, strict=False):
        np.testing.assert_array_equal(found, data.preparation(image))
    assert list(data.classes) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16, np.int32, ">f4", np.uint16])
def test_other_inputs_are_as_they_are(kind: Any, tmp_path: Path) -> None:
    values = (RANDOM.random((40, 5)) * 100).astype(kind)
    data = made(tmp_path, x_train=values, y_train=LABELS, x_test=values[:7], y_test=LABELS[:7])
    found = inputs_of(data)
    assert found.dtype == (torch.float32 if np.dtype(kind).kind == "f" else torch.int64)
    np.testing.assert_array_equal(found.numpy(), values[:7].astype(found.numpy().dtype))
    assert data.preparation is None
    assert data.steps == 5
    epochs = [torch.cat([labels for _, labels in data.train_batches(epoch)]).tolist() for epoch in (0, 1, 0)]
    assert epochs[0] == epochs[2] != epochs[1]
    assert sorted(epochs[0]) == sorted(LABELS.tolist())
    assert torch.equal(list(data.train_batches(1))[3][0], next(data.train_batches(1, 3))[0])


@pytest.mark.parametrize("values", [IMAGES, IMAGES[:, :, 0, 0].astype(np.float32)])
def test_without_test_arrays_a_share_is_for_testing(values: np.ndarray, tmp_path: Path) -> None:
    data = made(tmp_path, train_images=values, train_labels=LABELS)
    assert "data.npz: there are no test examples; 0.2 of each class" in data.notes[0]
    labels = torch.cat([labels for _, labels in data.test_batches()])
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


NAN = IMAGES[:, :, 0, 0].astype(np.float32)
NAN[3, 2] = np.nan
ARRAYS: list[tuple[dict[str, Any], str]] = [
    ({"a": IMAGES}, "found the arrays a; expected train_images, .* or x_train, y_train, x_test, y_test"),
    ({"x_train": IMAGES}, "there is no array y_train beside x_train"),
    ({"x_train": IMAGES, "y_train": LABELS, "y_test": LABELS}, "there is no array x_test beside y_test"),
    (
        {"x_train": IMAGES, "y_train": LABELS[:9]},
        r"x_train, y_train: found inputs of shape .* and labels of shape \(9,\)",
    ),
    ({"x_train": IMAGES, "y_train": LABELS - 1}, "label -1 of example 0 is out of range; expected 0 or more"),
    ({"x_train": IMAGES, "y_train": LABELS + 2**40}, "label .* is out of range"),
    ({"x_train": IMAGES, "y_train": LABELS / 2}, "labels are float64; expected integers, the numbers of the classes"),
    ({"x_train": IMAGES, "y_train": LABELS > 1}, "labels are bool; expected integers"),
    ({"x_train": IMAGES, "y_train": np.array(["cat"] * 40)}, "labels are an array of <U3; expected numbers"),
    ({"x_train": NAN, "y_train": LABELS}, "x_train, y_train: input 3 has a value that is NaN or infinite"),
    ({"x_train": np.array([{}] * 40), "y_train": LABELS}, "x_train holds Python objects; expected numbers"),
    ({"x_train": IMAGES > 9, "y_train": LABELS}, "inputs are bool; expected floating-point numbers"),
    ({"x_train": NAN + 1j, "y_train": LABELS}, "inputs are complex64; expected"),
    ({"x_train": IMAGES[..., :2], "y_train": LABELS}, r"x_train has shape \(40, 8, 6, 2\) of uint8; expected images"),
    ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, "found no examples"),
    ({"x_train": np.uint8(3), "y_train": LABELS}, "found inputs of shape"),
    (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, 1:], "y_test": LABELS},
        r"images to train and to test with are .*; expected the same shape",
    ),
]


@pytest.mark.parametrize(("arrays", "message"), ARRAYS, ids=[message[:30] for _, message in ARRAYS])
def test_what_is_wrong_in_an_array_is_named(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"data\.npz: .*{message}|data\.npz: {message}"):
        made(tmp_path, **arrays)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ("a", "b", "c")}, r"label 3 is out of range; expected 0 to 2"),
        ({"channels": "grey"}, "expected .height, width. of uint8"),
        ({"crop": 9}, "crop is"),
        ({"test_share": -1.0}, "test_share is -1"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DemitasseError, match=message):
        made(tmp_path, settings, x_train=IMAGES, y_train=LABELS)


@pytest.mark.parametrize("settings", [{"size": 8}, {"mirror": True}, {"mean": 0.0}, {"holdout": 3}])
def test_settings_of_images_for_other_inputs(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="x_train is float32, which is used as it is, but settings of images are given"
    ):
        made(tmp_path, settings, x_train=RANDOM.random((40, 5), np.float32), y_train=LABELS)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x_train=IMAGES, y_train=LABELS)
    whole = path.read_bytes()
    np.save(tmp_path / "one.npy", LABELS)
    for content in (b"", b"no zip", whole[:100], whole[:-40], (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"data\.npz: "):
            DATASETS["npz"](path)
    with pytest.raises(DataError, match=r"none\.npz: cannot be read: No such file"):
        DATASETS["npz"](tmp_path / "none.npz")
    with pytest.raises(DataError, match="npz: the path is missing; give the file"):
        DATASETS["npz"](None)


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_a_typed_error_or_changes_nothing(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x_train=IMAGES[:10], y_train=LABELS[:10])
    random = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for place in random.integers(0, len(content), 3):
        content[place] = random.integers(0, 256)
    path.write_bytes(content)
    with suppress(DemitasseError):
        DATASETS["npz"](path)
