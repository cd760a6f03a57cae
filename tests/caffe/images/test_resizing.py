"""Resizing is OpenCV's within a level, whatever the order in memory; a window is a part of the whole."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from demitasse.caffe.images.codec import decode, resize
from demitasse.caffe.images.pixels import pixels
from demitasse.caffe.images.resizing import Resized, copy_window

ALL = (slice(None), slice(None), slice(None))


def layouts(pixels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns images that are views of (height, width, channels) pixels, and which channels they have."""
    order = np.arange(pixels.shape[2])
    image = pixels.transpose(2, 0, 1)
    return [
        (image, order),
        (np.ascontiguousarray(image), order),
        (pixels[:, :, ::-1].transpose(2, 0, 1), order[::-1]),
        (image[1:], order[1:]),
        (image[:2], order[:2]),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_resized_as_by_opencv(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width, new_height, new_width = random.integers(1, 70, 4).tolist()
    array = random.integers(0, 256, (height, width, random.choice([2, 3, 4])), np.uint8)
    expected = cv2.resize(array, (new_width, new_height)).reshape(new_height, new_width, -1).transpose(2, 0, 1)
    for image, channels in layouts(array):
        found = resize(image, new_height, new_width)
        np.testing.assert_allclose(found.astype(int), expected[channels].astype(int), rtol=0, atol=1)
        window = (slice(None), slice(new_height // 3, new_height), slice(new_width // 2, new_width // 2 + 3))
        for mirror in (False, True):
            out = np.empty(found[window].shape, np.float32)
            copy_window(Resized(image, new_height, new_width), window, mirror, out)
            np.testing.assert_array_equal(out, found[window][:, :, ::-1] if mirror else found[window])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_windows_are_copied(channels: int, mirror: bool, dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 256, (9, 11, channels), np.uint8)
    for image, _ in layouts(array):
        for window in (ALL, (slice(None), slice(2, 9), slice(3, 8))):
            expected = image[window]
            out = np.empty(expected.shape, dtype)
            copy_window(image, window, mirror, out)
            np.testing.assert_array_equal(out, expected[:, :, ::-1] if mirror else expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(5, 7), (2100, 2200)])  # the large one lies in several pieces
def test_pixels_of_pillow_live_as_long_as_the_array(mode: str, size: tuple[int, int]) -> None:
    shape = size if mode == "L" else (*size, len(mode))
    expected = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image = Image.fromarray(expected)
    found = pixels(image)
    del image
    np.testing.assert_array_equal(found, expected)
    assert found.flags.writeable


@pytest.mark.parametrize("quality", [30, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpegs_are_decoded_as_by_opencv(quality: int, subsampling: int) -> None:
    stream = BytesIO()
    smooth = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (37, 45, 3), np.uint8), (7, 7), 0)
    Image.fromarray(smooth).save(stream, "jpeg", quality=quality, subsampling=subsampling)
    content = np.frombuffer(stream.getvalue(), np.uint8)
    color = cv2.imdecode(content, cv2.IMREAD_COLOR).transpose(2, 0, 1).astype(int)
    grey = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)[None].astype(int)
    np.testing.assert_allclose(decode(stream.getvalue(), True).astype(int), color, rtol=0, atol=1)
    np.testing.assert_allclose(decode(stream.getvalue(), False).astype(int), grey, rtol=0, atol=1)
