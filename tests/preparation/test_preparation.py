"""Preparation: what it makes of images, and what it refuses."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse import Preparation
from demitasse.errors import DataError, UsageError

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (9, 7, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (9, 7), dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_pixels_less_mean_times_scale() -> None:
    found = Preparation("rgb", (9, 7), (1, 2, 3), (0.5, 2, 1))(COLOURS)
    expected = (COLOURS.astype(float) - [1, 2, 3]) * [0.5, 2, 1]
    np.testing.assert_array_equal(found, expected.transpose(2, 0, 1))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_decoding_and_resizing_alone_give_the_pixels_of_a_call(channels: str) -> None:
    preparation = Preparation(channels, (8, 12), 3.0, 0.5, (6, 5))
    image = png(COLOURS)
    decoded = preparation.decode(image)
    assert (decoded.shape[1:], decoded.dtype) == ((9, 7), np.uint8)
    pixels = preparation.resize(decoded)
    assert (pixels.shape, pixels.dtype) == (preparation.shape, np.uint8)
    np.testing.assert_array_equal((pixels.astype(np.float32) - 3) * 0.5, preparation(image))


def test_bgr_has_the_order_of_caffe() -> None:
    rgb, bgr = Preparation("rgb", (9, 7)), Preparation("bgr", (9, 7))
    np.testing.assert_array_equal(bgr(COLOURS), rgb(COLOURS)[::-1])
    np.testing.assert_array_equal(bgr(GREY), np.broadcast_to(GREY, (3, 9, 7)))


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize(("size", "crop"), [((9, 7), None), ((9, 7), (4, 5)), ((6, 11), None), ((13, 8), (7, 7))])
def test_files_bytes_and_pixels_are_the_same(
    channels: str, size: tuple[int, int], crop: tuple[int, int] | None, tmp_path: Path
) -> None:
    preparation, pixels = Preparation(channels, size, 5, 0.25, crop), GREY if channels == "grey" else COLOURS
    (tmp_path / "image.png").write_bytes(png(pixels))
    found = preparation(pixels)
    assert found.shape == preparation.shape
    for image in (png(pixels), tmp_path / "image.png", str(tmp_path / "image.png")):
        np.testing.assert_array_equal(preparation(image), found)


def test_the_centre_is_cropped_after_resizing() -> None:
    whole = Preparation("grey", (20, 30))(GREY)
    np.testing.assert_array_equal(Preparation("grey", (20, 30), crop=(10, 9))(GREY), whole[:, 5:15, 10:19])


def test_resizing_is_that_of_the_image_room() -> None:
    from demitasse.caffe.images.codec import resize

    expected = resize(COLOURS.transpose(2, 0, 1), 5, 12)
    np.testing.assert_array_equal(Preparation("rgb", (5, 12))(COLOURS), expected)


def test_a_colour_file_becomes_grey_and_a_grey_one_colour() -> None:
    grey = np.asarray(Image.fromarray(COLOURS).convert("L"))
    np.testing.assert_array_equal(Preparation("grey", (9, 7))(png(COLOURS)), grey[None])
    np.testing.assert_array_equal(Preparation("rgb", (9, 7))(png(GREY)), np.broadcast_to(GREY, (3, 9, 7)))


def test_mean_and_deviation_of_pixels_from_0_to_1() -> None:
    found = Preparation.normalized("grey", (9, 7), 0.1307, 0.3081)(GREY)
    np.testing.assert_allclose(found[0], (GREY / 255 - 0.1307) / 0.3081, atol=1e-5)
    assert Preparation.normalized("rgb", (2, 2), [0.1, 0.2, 0.3], 0.5).mean == (25.5, 51.0, 76.5)


def test_numbers_have_the_digits_of_files() -> None:
    found = Preparation("rgb", [np.int64(3), 4], np.float32([0.1, 0.2, 0.3]), 1 / 3)  # type: ignore[arg-type]
    assert found == Preparation("rgb", (3, 4), (0.1, 0.2, 0.3), 0.333333)
    assert Preparation("rgb", (3, 4), (2, 2, 2)) == Preparation("rgb", (3, 4), 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gray", (2, 2)), "channels is 'gray'; did you mean 'grey'?"),
        ((3, (2, 2)), "channels is 3; known: bgr, grey, rgb"),
        (("grey", 28), r"size is 28; expected \(height, width\), whole numbers from 1 to 4096"),
        (("grey", (0, 2)), r"size is \(0, 2\)"),
        (("grey", (2.5, 2)), r"size is \(2.5, 2\)"),
        (("grey", (1, 10**9)), r"size is \(1, 1000000000\)"),
        (("grey", "28"), "size is '28'"),
        (("grey", (2, 2), float("nan")), "mean is nan; expected a finite number$"),
        (("grey", (2, 2), 1e39), "mean is 1e"),
        (("grey", (2, 2), (1, 2)), r"mean is \(1, 2\); expected a finite number$"),
        (("rgb", (2, 2), (1, 2)), r"mean is \(1, 2\); expected a finite number, or 3 of them"),
        (("rgb", (2, 2), "1,2,3"), "mean is '1,2,3'"),
        (("rgb", (2, 2), None), "mean is None"),
        (("grey", (2, 2), 0, 0), "scale is 0; every image would be the same"),
        (("rgb", (2, 2), 0, (1, 1e-60, 1)), "scale is 0"),
        (("grey", (2, 2), 0, 1, (3, 2)), r"crop is \(3, 2\); expected at most the size, \(2, 2\)"),
    ],
)
def test_what_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Preparation(*arguments)  # type: ignore[arg-type]


def test_a_deviation_is_above_zero() -> None:
    with pytest.raises(UsageError, match="deviation is 0; expected numbers above 0"):
        Preparation.normalized("grey", (2, 2), 0.5, 0)
    with pytest.raises(UsageError, match="channels is 'blue'"):
        Preparation.normalized("blue", (2, 2), 0.5, 1)


def test_what_is_no_image(tmp_path: Path) -> None:
    preparation = Preparation("grey", (2, 2))
    for image, message in (
        (tmp_path / "missing.png", r"missing.png: cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (b"no image", "^not a readable image"),
        (png(GREY)[:40], "^not a readable image"),
        (COLOURS, r"shape \[9, 7, 3\] of uint8; expected \(height, width\) of uint8"),
        (GREY.astype(float), r"of float64"),
        (np.zeros((0, 3), np.uint8), r"shape \[0, 3\]"),
    ):
        with pytest.raises(DataError, match=message):
            preparation(image)
    with pytest.raises(DataError, match=r"expected \(height, width\) or \(height, width, 3\)"):
        Preparation("rgb", (2, 2))(np.zeros((3, 2, 2), np.uint8))
    (tmp_path / "broken\x1b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\\x1b.png: not a readable image"):
        preparation(tmp_path / "broken\x1b.png")
