from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.errors import UsageError
from demitasse.pycaffe import Detector
from demitasse.pycaffe.images import load_image, resize_image
from tests.pycaffe.images import save_image, summing_net

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3))
MEAN = np.array([10.0, 20.0, 30.0])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save_image(tmp_path / "image.png", PIXELS)


def detector(folder: Path, context_pad: int | None = None, size: int = 8) -> Detector:
    return Detector(
        *summing_net(folder, size=size), mean=MEAN, raw_scale=255, channel_swap=(2, 1, 0), context_pad=context_pad
    )


def test_windows_of_images(tmp_path: Path, image: Path) -> None:
    other = save_image(tmp_path / "other.png", 255 - PIXELS)
    windows = [(str(image), [(0, 0, 20, 30), (2, 3, 10, 11)]), (str(other), np.array([[5, 6, 13, 14]]))]
    found = detector(tmp_path).detect_windows(iter(windows))
    assert [(each["filename"], list(each["window"])) for each in found] == [
        (name, list(window)) for name, several in windows for window in several
    ]
    for each in found:
        top, left, bottom, right = each["window"]
        warped = resize_image(load_image(each["filename"])[top:bottom, left:right], (8, 8))
        expected = (255 * warped[:, :, ::-1] - MEAN).sum((0, 1))
        assert each["prediction"] == pytest.approx(expected, rel=1e-4, abs=0.1)


def test_context_inside_the_image(tmp_path: Path, image: Path) -> None:
    """A window of 7 x 7 (8 with both ends) and 2 of 8 pixels of context: 16 pixels become 8."""
    crop = detector(tmp_path, context_pad=2).crop(load_image(image), (6, 10, 13, 17))
    expected = resize_image(load_image(image)[2:18, 6:22], (8, 8))
    assert crop.shape == (8, 8, 3)
    assert crop == pytest.approx(expected, abs=1e-6)


def test_the_mean_stands_outside_the_image(tmp_path: Path, image: Path) -> None:
    made = detector(tmp_path, context_pad=2)
    crop = made.crop(load_image(image), (0, 0, 7, 7))
    outside = MEAN[::-1] / 255
    assert crop[:2] == pytest.approx(np.broadcast_to(outside, (2, 8, 3)), abs=1e-6)
    assert crop[:, :2] == pytest.approx(np.broadcast_to(outside, (8, 2, 3)), abs=1e-6)
    assert abs(crop[2:, 2:] - outside).max() > 0.1
    prepared = made.transformer.preprocess("data", crop)
    assert abs(prepared[:, :2]).max() < 1e-4


def test_without_a_mean(tmp_path: Path) -> None:
    made = Detector(*summing_net(tmp_path, size=8), context_pad=2)
    assert not made.crop_mean.any()
    assert made.crop_dims.tolist() == [8, 8, 3]


def test_no_windows(tmp_path: Path) -> None:
    assert detector(tmp_path).detect_windows([]) == []


@pytest.mark.parametrize("context_pad", [None, 2])
def test_windows_outside(tmp_path: Path, image: Path, context_pad: int | None) -> None:
    with pytest.raises(ValueError, match=r"window \[50, 60, 60, 70\] contains no pixel"):
        detector(tmp_path, context_pad).crop(load_image(image), (50, 60, 60, 70))


def test_what_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="context_pad is 4; expected less than half of the input's size 8 x 8"):
        detector(tmp_path, context_pad=4)
    with pytest.raises(UsageError, match="MATLAB"):
        detector(tmp_path).detect_selective_search(["image.png"])
