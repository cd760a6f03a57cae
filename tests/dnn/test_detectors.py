"""Published detectors on photographs and on noise: what OpenCV 4 finds is found."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from demitasse import dnn

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


class Case(NamedTuple):
    name: str
    size: int
    grey: bool
    scale: float
    mean: tuple[float, ...] = ()
    blobs_of_boxes: bool = True

    def image(self, path: Path) -> np.ndarray:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE if self.grey else cv2.IMREAD_COLOR)
        return dnn.blobFromImage(image, self.scale, (self.size, self.size), self.mean)

    def noise(self) -> np.ndarray:
        shape = (1, 1 if self.grey else 3, self.size, self.size)
        return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


CASES = [
    Case("res10_face_ssd", 300, False, 1.0, (104, 177, 123)),
    Case("wechat_detect", 384, True, 1 / 255),
    Case("wechat_sr", 224, True, 1 / 255),
]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def folder(shared):
    found = shared / "models/detectors"
    if not found.is_dir():
        pytest.skip(f"no detectors at {found}")
    return found


def nets(folder, name):
    files = str(folder / f"{name}.prototxt"), str(folder / f"{name}.caffemodel")
    return dnn.readNetFromCaffe(*files), cv2.dnn.readNetFromCaffe(*files)


def check(found, expected):
    assert found.shape == expected.shape
    if found.shape[-1] != 7:
        np.testing.assert_allclose(found, expected, atol=1e-4)
        return
    np.testing.assert_array_equal(found[..., :2], expected[..., :2])  # order and class
    np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=1e-4)
    np.testing.assert_allclose(found[..., 3:], expected[..., 3:], atol=1e-3)


@each
def test_single_images_and_batches(folder, case):
    ours, theirs = nets(folder, case.name)
    assert ours.getLayerNames() == tuple(theirs.getLayerNames())
    images = [case.image(folder / name) for name in ("faces.jpg", "faces_2.jpg")]
    for blob in (*images, case.noise(), np.concatenate([*images, case.noise()])):
        for net in (ours, theirs):
            net.setInput(blob)
        check(ours.forward(), theirs.forward())


@each
def test_every_blob(folder, case):
    """OpenCV computes an activation together with the layer before it, whose name then has the result of both."""
    ours, theirs = nets(folder, case.name)
    blob = np.concatenate([case.image(folder / "faces.jpg"), case.noise()])
    last = {}  # blob -> the last layer that writes it
    for layer in ours._net.spec.layer:
        last |= dict.fromkeys(layer.top, layer.name)
    names = [name for name in ours.getLayerNames() if name in last.values()][:-1]
    for net in (ours, theirs):
        net.setInput(blob)
    for name, found, expected in zip(names, ours.forward(names), theirs.forward(names), strict=True):
        scale = max(1, np.abs(expected).max())
        np.testing.assert_allclose(found / scale, expected / scale, atol=1e-4, err_msg=name)
