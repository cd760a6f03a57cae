"""simplejpeg beside Pillow: the same bits for sound files, nothing for all others."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from demitasse.caffe.images import jpeg
from demitasse.caffe.images.codec import decode
from demitasse.errors import DataError


def file(mode: str = "RGB", size: tuple[int, int] = (37, 22), **settings: object) -> bytes:
    random = np.random.default_rng(0)
    rough = Image.fromarray(random.integers(0, 256, (6, 5, 3), np.uint8)).resize(size).convert(mode)
    stream = BytesIO()
    rough.save(stream, "JPEG", **settings)
    return stream.getvalue()


FILES = {
    "coloured": file(),
    "halved colours": file(quality=60, subsampling=2),
    "full colours": file(quality=95, subsampling=0),
    "progressive": file(progressive=True),
    "grey": file("L"),
    "one pixel": file(size=(1, 1)),
}


@pytest.mark.parametrize("color", [True, False, None])
@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_the_bits_are_those_of_pillow(monkeypatch: pytest.MonkeyPatch, data: bytes, color: bool | None) -> None:
    ours = jpeg.decode(data, color)
    assert ours is not None
    found = decode(data, color)
    np.testing.assert_array_equal(found, ours.transpose(2, 0, 1))
    monkeypatch.setattr(jpeg, "_INSTALLED", False)
    assert jpeg.decode(data, color) is None
    np.testing.assert_array_equal(found, decode(data, color))


def test_what_is_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = FILES["coloured"]
    for data in (file("CMYK"), sound[:-60], sound[:40], b"\xff\xd8\xff", b"\x89PNG", b""):
        assert jpeg.decode(data, True) is None
    with pytest.raises(DataError, match="not a readable image"):
        decode(sound[:-60], True)
    assert decode(file("CMYK"), True).shape == (3, 22, 37)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert jpeg.decode(sound, True) is None
