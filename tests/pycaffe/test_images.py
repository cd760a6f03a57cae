from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.errors import DataError
from demitasse.pycaffe.images import load_image, oversample, resize_image

RED, GREEN = (255, 0, 0), (0, 255, 51)


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    Image.fromarray(np.array([[RED, GREEN]], np.uint8)).save(tmp_path / "colours.png")
    return tmp_path / "colours.png"


def test_colour(colours: Path) -> None:
    image = load_image(colours)
    assert image.dtype == np.float32
    assert image.tolist() == [[[1, 0, 0], [0, 1, pytest.approx(0.2)]]]


def test_luminance(colours: Path) -> None:
    assert load_image(colours, color=False) == pytest.approx(np.array([[[0.2125], [0.7154 + 0.2 * 0.0721]]]))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16", "CMYK"])
def test_other_modes(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    if mode == "I;16":
        Image.fromarray(np.array([[0, 65535]], np.uint16)).save(path)
    else:
        Image.fromarray(np.array([[0, 255]], np.uint8)).convert(mode).save(path)
    for color, channels in ((True, 3), (False, 1)):
        image = load_image(path, color)
        assert image.shape == (1, 2, channels)
        assert image[0, 0].tolist() == pytest.approx([0] * channels, abs=1e-6)
        assert image[0, 1].tolist() == pytest.approx([1] * channels, abs=1e-6)


def test_what_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable image"):
        load_image(tmp_path / "missing.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n1234")
    with pytest.raises(DataError, match=r"cut.png: not a readable image"):
        load_image(tmp_path / "cut.png")


def test_halving_takes_means_of_four() -> None:
    image = np.random.default_rng(0).random((6, 4, 3))
    expected = image.reshape(3, 2, 2, 2, 3).mean((1, 3))
    assert resize_image(image, (3, 2)) == pytest.approx(expected, abs=1e-6)


def test_doubling_interpolates_between_centres() -> None:
    ramp = np.tile(np.arange(4.0)[:, None, None], (1, 4, 1))
    resized = resize_image(ramp, (8, 8))
    # the border is the least value, 0 here
    assert resized[1:7, 3, 0].tolist() == pytest.approx([0.25, 0.75, 1.25, 1.75, 2.25, 2.75])
    assert resized[7, 3, 0] == pytest.approx(0.75 * 3)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_shape_and_range_stay(order: int, channels: int) -> None:
    image = np.random.default_rng(0).random((5, 7, channels)) * 300 - 20
    resized = resize_image(image, (11, 4), order)
    assert resized.shape == (11, 4, channels)
    assert resized.dtype == np.float32
    if channels != 2:
        assert resized.min() >= np.float32(image.min())
        assert resized.max() <= np.float32(image.max())


def test_a_plain_image_stays_plain() -> None:
    assert (resize_image(np.full((3, 3, 3), 0.3), (7, 2)) == np.float32(0.3)).all()
    assert np.array_equal(resize_image(np.eye(4)[:, :, None], (4, 4))[:, :, 0], np.eye(4))


@pytest.mark.parametrize(("shape", "size"), [((3, 3), (2, 2)), ((0, 3, 1), (2, 2)), ((3, 3, 1), (0, 2))])
def test_what_cannot_be_resized(shape, size) -> None:
    with pytest.raises(ValueError, match="cannot become"):
        resize_image(np.zeros(shape), size)


def test_oversample() -> None:
    image = np.arange(20.0).reshape(4, 5, 1)
    pieces = oversample([image, -image], (2, 3))
    assert pieces.shape == (20, 2, 3, 1)
    assert pieces.dtype == np.float32
    corners = [image[:2, :3], image[:2, 2:], image[2:, :3], image[2:, 2:], image[1:3, 1:4]]
    for index, corner in enumerate(corners):
        assert np.array_equal(pieces[index], corner)
        assert np.array_equal(pieces[index + 5], corner[:, ::-1])
        assert np.array_equal(pieces[index + 10], -corner)
    with pytest.raises(ValueError, match="crops of 5 x 3 do not fit"):
        oversample([image], (5, 3))
