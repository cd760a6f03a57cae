"""Images in files: folders of classes and lists; what is trained and tested is what the packed file says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import demitasse
from demitasse.compress import compress
from demitasse.errors import DataError, UsageError
from demitasse.preparation import image_files
from demitasse.zoo.data import DATASETS
from demitasse.zoo.data.images import ImageTrainingData


def save(path: Path, side: int = 8, grey: bool = False) -> Path:
    """Writes an image whose pixels depend on its path alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(str(path.relative_to(path.parents[2])).encode()))
    shape = (side, side) if grey else (side, side, 3)
    Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(path)
    return path


def folder(root: Path, parts: tuple[str, ...] = ("",), count: int = 10, side: int = 8) -> Path:
    for part in parts:
        for name in ("b", "a"):
            for number in range(count):
                save(root / part / name / f"{number}.png", side)
    return root


def made(path: Path, **settings: Any) -> ImageTrainingData:
    return DATASETS["images"](path, **{"batch": 4, **settings})


def pixels(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).astype(np.float32))


@pytest.mark.parametrize("tests", ["test", "val"])
def test_the_parts_are_folders(tests: str, tmp_path: Path) -> None:
    data = made(folder(tmp_path, ("train", tests)), mean=0)
    assert list(data.classes) == ["a", "b"]
    assert (data.examples, sum(len(labels) for _, labels in data.test_batches())) == (20, 20)
    assert list(data.notes) == []
    found = {
        inputs.numpy().tobytes(): int(label)
        for batch in data.test_batches()
        for inputs, label in zip(*batch, strict=True)
    }
    expected = {
        pixels(tmp_path / tests / name / f"{number}.png").numpy().tobytes(): label
        for label, name in enumerate("ab")
        for number in range(10)
    }
    assert found == expected


def test_a_folder_without_parts_is_split_always_in_the_same_way(tmp_path: Path) -> None:
    first, second = made(folder(tmp_path)), made(tmp_path, seed=9)
    (note,) = first.notes
    assert note == (
        f"{tmp_path}: there are no test examples; 0.2 of each class, drawn at random (seed 0), are for testing: "
        "16 to train with, 4 to test with"
    )
    (tested, labels), (again, _) = next(first.test_batches()), next(second.test_batches())
    assert sorted(labels.tolist()) == [0, 0, 1, 1]
    assert torch.equal(tested, again)
    trained = torch.cat([inputs for inputs, _ in first.train_batches(0)])
    assert not {one.numpy().tobytes() for one in tested} & {one.numpy().tobytes() for one in trained}
    assert len(next(made(tmp_path, test_share=0.5).test_batches())[1]) == 10


def test_train_is_a_class_where_nothing_to_test_with_is_beside_it(tmp_path: Path) -> None:
    folder(tmp_path / "split", ("train",))
    assert list(made(tmp_path / "split").classes) == ["a", "b"]
    for name in ("bus", "train"):
        save(tmp_path / "vehicles" / name / "1.png")
        save(tmp_path / "vehicles" / name / "2.png")
    assert list(made(tmp_path / "vehicles").classes) == ["bus", "train"]


def test_a_list(tmp_path: Path) -> None:
    folder(tmp_path / "photos", count=4)
    lines = [f"{name}/{number}.png {label}" for label, name in enumerate("ab") for number in range(4)]
    (tmp_path / "train.txt").write_text("\n".join(lines[::2]) + "\n")
    (tmp_path / "val.txt").write_text("\r\n".join(["", *lines[1::2]]))
    data = made(tmp_path / "train.txt", test="val.txt", root="photos", classes=("cat", "dog"), mean=0)
    assert (data.examples, list(data.classes)) == (4, ["cat", "dog"])
    inputs, labels = next(data.test_batches())
    found = {one.numpy().tobytes(): int(label) for one, label in zip(inputs, labels, strict=True)}
    assert found[pixels(tmp_path / "photos/b/3.png").numpy().tobytes()] == 1
    assert made(tmp_path / "train.txt", root="photos").notes


def test_it_is_prepared_alike_for_training_testing_and_the_file(tmp_path: Path) -> None:
    save(tmp_path / "photos/a/wide.png", 11)
    folder(tmp_path / "photos", count=4, side=9)
    data = made(
        tmp_path / "photos", size=10, crop=(8, 6), channels="bgr", mean=(1.0, 2.0, 3.0), scale=0.01, test_share=0.4
    )
    assert data.preparation == demitasse.Preparation("bgr", (10, 10), (1, 2, 3), 0.01, (8, 6))
    expected = {data.preparation(path).tobytes() for path in (tmp_path / "photos").rglob("*.png")}
    inputs = torch.cat([part for part, _ in (*data.train_batches(0), *data.test_batches())])
    assert inputs.shape[1:] == (3, 8, 6)
    assert {one.numpy().tobytes() for one in inputs} <= expected
    assert len(expected) == 9


def test_without_mean_and_scale_the_training_images_are_normalised(tmp_path: Path) -> None:
    data = made(folder(tmp_path, ("train", "test")), batch=20)
    inputs, _ = next(data.train_batches(0))
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(3), atol=1e-2)


def test_the_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    before = image_files.decoded

    def counted(file: image_files.ImageFile, preparation: demitasse.Preparation) -> Any:
        read.append(file.path)
        return before(file, preparation)

    folder(tmp_path, ("train", "test"), side=16)
    monkeypatch.setattr(image_files, "decoded", counted)
    for memory, expected in ((512, 20), (0, 60)):
        data = made(tmp_path, size=8, mean=0, memory=memory, batch=20)
        read.clear()
        first, second, third = (torch.cat([part for part, _ in data.train_batches(epoch)]) for epoch in (0, 1, 0))
        assert len(read) == expected
        assert torch.equal(first, third)
        assert not torch.equal(first, second)


def test_held_out_images_are_of_all_classes_and_not_trained(tmp_path: Path) -> None:
    data = made(folder(tmp_path, ("train", "test")), holdout=8)
    assert data.examples == 12
    assert {int(label) for _, labels in data.test_batches() for label in labels} == {0, 1}


def test_a_recipe_packs_how_images_are_prepared_and_the_classes(tmp_path: Path) -> None:
    folder(tmp_path / "photos", ("train", "test"))
    (tmp_path / "r.toml").write_text("""
model = { name = "lenet300", inputs = 192, classes = 2 }
data = { name = "images", path = "photos", batch = 10, size = 8, mean = 128, scale = 0.01 }
stages = [{ kind = "train", epochs = 1, lr = 0.1 }, { kind = "pack", graph = true }]
""")
    said: list[str] = []
    compress(tmp_path / "r.toml", tmp_path / "out", say=said.append)
    with demitasse.open(tmp_path / "out/r/2-pack/model.demi") as file:
        assert file.preparation == demitasse.Preparation("rgb", (8, 8), 128, 0.01)
        assert list(file.classes) == ["a", "b"]
    (tmp_path / "r.toml").write_text((tmp_path / "r.toml").read_text().replace('"photos"', '"photos/train"'))
    compress(tmp_path / "r.toml", tmp_path / "other", say=said.append)
    assert any("there are no test examples; 0.2 of each class" in line for line in said)


def empty_folder(root: Path) -> None:
    root.mkdir()


def files_alone(root: Path) -> None:
    folder(root)
    for path in [*root.rglob("*.png")]:
        path.rename(root / f"{path.parent.name}{path.name}")
    (root / "a").rmdir()
    (root / "b").rmdir()


def empty_class(root: Path) -> None:
    (folder(root) / "c").mkdir()
    (root / "c/notes.txt").write_text("no image")


def unknown_class(root: Path) -> None:
    save(folder(root, ("train", "test")) / "test/c/1.png")


def one_image(root: Path) -> None:
    save(root / "a/1.png")


def broken_image(root: Path) -> None:
    folder(root)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image")


def pipe(root: Path) -> None:
    folder(root)
    for path in [*root.rglob("*.png")]:
        path.unlink()
        os.mkfifo(path)


def sizes_that_differ(root: Path) -> None:
    for number in range(4):
        save(root / f"a/{number}.png", 4 + number)


FOLDERS: list[tuple[Callable[[Path], object], dict[str, Any], str]] = [
    (lambda root: None, {}, r"photos: there is no such file; expected a folder of <class>/<image>, or a list"),
    (empty_folder, {}, r"photos: there are no folders in it; expected <class>/<image>"),
    (files_alone, {}, r"photos: there are no folders in it"),
    (empty_class, {}, r"photos/c: there are no images in it; expected files \*\.bmp"),
    (unknown_class, {}, r"photos/test/c: there is no class 'c'; known: a, b"),
    (one_image, {}, r"photos: found 1 examples, too few to test with"),
    (broken_image, {}, r"photos/[ab]/\d\.png: not a readable image"),
    (pipe, {}, r"photos/[ab]/\d\.png: cannot be read: it is a device or a pipe"),
    (sizes_that_differ, {}, r"photos/a/\d\.png: the image has \dx\d pixels, but the first has \dx\d; set size"),
    (folder, {"test": "nowhere"}, r"nowhere: not an image list: No such file"),
]


@pytest.mark.parametrize(("make", "settings", "message"), FOLDERS, ids=[str(number) for number in range(len(FOLDERS))])
def test_what_is_wrong_in_a_folder_is_named(
    make: Callable[[Path], object], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "photos")
    with pytest.raises(DataError, match=message):
        list(made(tmp_path / "photos", **settings).train_batches(0))


@pytest.mark.parametrize(
    ("line", "classes", "message"),
    [
        ("a/0.png", (), r"list\.txt:2: expected '<file name> <label>', found 'a/0\.png'"),
        ("a/0.png cat", (), r"list\.txt:2: expected '<file name> <label>'"),
        ("a/0.png 1.5", (), r"list\.txt:2: expected '<file name> <label>'"),
        ("a/0.png -1", (), r"list\.txt:2: label is -1; expected 0 or more"),
        ("a/0.png 2", ("a", "b"), r"list\.txt:2: label is 2; expected from 0 to 1, since there are 2 classes"),
        ("a/none.png 1", (), r"list\.txt:2: .*photos/a/none\.png: cannot be read: No such file"),
        ("a 1", (), r"list\.txt:2: .*photos/a: cannot be read: it is a folder"),
        ("notes.txt 1", (), r"list\.txt:2: .*photos/notes\.txt: not a readable image"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(line: str, classes: tuple[str, ...], message: str, tmp_path: Path) -> None:
    folder(tmp_path / "photos", count=2)
    (tmp_path / "photos/notes.txt").write_text("no image")
    (tmp_path / "list.txt").write_text(f"a/1.png 0\n{line}\n")
    (tmp_path / "test.txt").write_text("b/1.png 1\n")
    with pytest.raises(DataError, match=message):
        list(made(tmp_path / "list.txt", test="test.txt", root="photos", classes=classes).train_batches(0))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, r"size is \(0, 0\)"),
        ({"size": (8, 8, 8)}, r"size is \(8, 8, 8\)"),
        ({"crop": 9}, r"crop is \(9, 9\); expected at most the size"),
        ({"channels": "gray"}, "channels is 'gray'; did you mean 'grey'"),
        ({"mean": (1.0, 2.0)}, r"mean is \(1\.0, 2\.0\); expected a finite number, or 3"),
        ({"scale": 0.0}, "scale is 0"),
        ({"batch": 0}, "batch is 0; expected 1 or more"),
        ({"test_batch": -1}, "test_batch is -1"),
        ({"shift": -1}, "shift is -1; expected 0 or more"),
        ({"memory": -1}, "memory is -1; expected 0 or more MiB"),
        ({"test_share": 1.0}, "test_share is 1; expected a share above 0 and below 1"),
        ({"root": "x"}, "root is given, but .* is a folder; it is for lists"),
        ({"classes": ("a",)}, "classes is given, but .* is a folder"),
        ({"holdout": 99}, "holdout is 99"),
    ],
)
def test_settings_without_meaning(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        made(folder(tmp_path), **settings)


def test_more_images_than_a_sample_are_normalised_by_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from demitasse.zoo.data import preparing

    monkeypatch.setattr(preparing, "SAMPLE", 3)
    data = made(folder(tmp_path, ("train", "test")), memory=0)
    assert data.preparation is not None
    assert len(np.atleast_1d(data.preparation.mean)) == 3
