"""Images are blue first, whatever they were encoded as."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from demitasse.caffe.images.codec import decode, encode, resize
from demitasse.errors import DataError, UsageError

BGR = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)


def png(mode: str) -> bytes:
    stream = BytesIO()
    Image.new(mode, (3, 2)).save(stream, "png")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "native", "channels"), [("L", 1, 1), ("1", 1, 1), ("RGB", 3, 3), ("RGBA", 4, 4), ("P", 3, 3)]
)
def test_channels(mode: str, native: int, channels: int) -> None:
    assert decode(png(mode)).shape == (channels, 2, 3)
    assert decode(png(mode), color=True).shape == (3, 2, 3)
    assert decode(png(mode), color=False).shape == (1, 2, 3)


def test_png_keeps_every_pixel() -> None:
    content = encode(BGR, "png")
    np.testing.assert_array_equal(decode(content), BGR)
    red = np.asarray(Image.open(BytesIO(content)))[..., 0]
    np.testing.assert_array_equal(red, BGR[2])


def test_jpeg_is_near() -> None:
    smooth = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8), (1, 16, 16))
    assert np.abs(decode(encode(smooth, "jpg")).astype(int) - smooth).max() <= 2


def test_an_unknown_format() -> None:
    with pytest.raises(UsageError, match="unknown image format 'nix'; expected jpg or png"):
        encode(BGR, "nix")


@pytest.mark.parametrize("content", [b"", b"no image", encode(BGR, "png")[:60]])
def test_what_is_no_image(content: bytes) -> None:
    with pytest.raises(DataError, match="not a readable image"):
        decode(content)


def test_of_sixteen_bits_the_higher_eight_count_as_in_opencv() -> None:
    random = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 3)):
        image = random.integers(65536, size=shape).astype(np.uint16)
        for extension in (".png", ".pgm", ".tiff") if len(shape) == 2 else (".png",):
            content = cv2.imencode(extension, image)[1].tobytes()
            expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).transpose(2, 0, 1)
            np.testing.assert_array_equal(decode(content, color=True), expected)
        if len(shape) == 2:
            np.testing.assert_array_equal(decode(content, color=False)[0], image >> 8)
            np.testing.assert_array_equal(decode(content), image[None] >> 8)


def test_more_than_sixteen_bits_are_refused() -> None:
    stream = BytesIO()
    Image.fromarray(np.ones((2, 2), np.float32)).save(stream, "TIFF")
    with pytest.raises(DataError, match=r"has mode F; expected at most 16 bits per channel"):
        decode(stream.getvalue())


def test_resize_samples_between_pixel_centres() -> None:
    image = np.array([[[0, 100, 200, 40]]], np.uint8)
    np.testing.assert_array_equal(resize(image, 1, 2), [[[50, 120]]])
    np.testing.assert_array_equal(resize(image, 1, 8)[0, 0, :4], [0, 25, 75, 125])
    # without a filter: pixels in between do not count
    np.testing.assert_array_equal(resize(np.array([[[0, 9, 0, 0, 9, 0]]], np.uint8), 1, 2), [[[9, 9]]])
