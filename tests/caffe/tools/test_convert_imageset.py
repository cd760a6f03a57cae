"""convert_imageset: every flag, and lists and images that are broken."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.codec import decode, encode
from demitasse.caffe.images.image_list import read_image_list
from demitasse.caffe.sources.lmdb_store import LmdbReader
from demitasse.caffe.tools.convert_imageset import convert_imageset
from demitasse.caffe.tools.image_datums import ImageOptions
from demitasse.errors import DataError, UsageError

BGR = np.random.default_rng(0).integers(0, 256, (3, 6, 8), np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(encode(BGR, "png"))
    (tmp_path / "b c.JPEG").write_bytes(encode(BGR, "jpg"))
    (tmp_path / "list.txt").write_text("a.png 3\n\nb c.JPEG -1\n")
    return tmp_path


def convert(root: Path, options: ImageOptions | None = None, **more) -> dict[str, schema.Message]:
    convert_imageset(root, root / "list.txt", root / "db", options, **more)
    reader = LmdbReader(str(root / "db"))
    return {key.decode(): schema.Datum.FromString(value) for key, value in islice(reader.records(), len(reader))}


def test_pixels(root: Path) -> None:
    found = convert(root)
    assert list(found) == ["00000000_a.png", "00000001_b c.JPEG"]
    datum = found["00000000_a.png"]
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 6, 8, 3)
    assert datum.data == BGR.tobytes()
    assert datum.HasField("encoded")
    assert not datum.encoded
    assert found["00000001_b c.JPEG"].label == -1


def test_gray_and_resized(root: Path) -> None:
    datum = convert(root, ImageOptions(gray=True, resize_height=3, resize_width=2))["00000000_a.png"]
    assert (datum.channels, datum.height, datum.width, len(datum.data)) == (1, 3, 2, 6)


def test_encoded_keeps_the_bytes_of_the_file(root: Path) -> None:
    found = convert(root, ImageOptions(encoded=True))
    for key, name in (("00000000_a.png", "a.png"), ("00000001_b c.JPEG", "b c.JPEG")):
        assert found[key].encoded
        assert found[key].data == (root / name).read_bytes()


def test_encoded_in_another_format(root: Path) -> None:
    found = convert(root, ImageOptions(encoded=True, encode_type="jpg"))
    assert found["00000000_a.png"].data[:2] == b"\xff\xd8"
    assert found["00000001_b c.JPEG"].data == (root / "b c.JPEG").read_bytes()


def test_encoded_and_resized_is_encoded_anew(root: Path) -> None:
    found = convert(root, ImageOptions(encoded=True, resize_height=5, resize_width=5))
    assert decode(found["00000000_a.png"].data).shape == (3, 5, 5)


def test_shuffled_by_the_seed(root: Path) -> None:
    names = [f"{i}.png" for i in range(20)]
    for name in names:
        (root / name).write_bytes(encode(BGR, "png"))
    (root / "list.txt").write_text("".join(f"{name} 0\n" for name in names))
    keys = list(convert(root, shuffle=True, seed=1))
    assert [key[:8] for key in keys] == [f"{i:08d}" for i in range(20)]
    order = [key[9:] for key in keys]
    assert sorted(order) == sorted(names)
    assert order != names


def test_check_size(root: Path) -> None:
    convert(root, ImageOptions(check_size=True))
    (root / "b c.JPEG").write_bytes(encode(BGR[:, :5], "jpg"))
    with pytest.raises(DataError, match=r"b c\.JPEG: the image has shape \[3, 5, 8\]; expected \[3, 6, 8\]"):
        convert_imageset(root, root / "list.txt", root / "other", ImageOptions(check_size=True))
    assert not (root / "other").exists()


def test_a_file_that_is_no_image_is_left_out_with_a_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "a.png").write_bytes(b"no image")
    with caplog.at_level(logging.WARNING, "demitasse.caffe"):
        assert list(convert(root)) == ["00000001_b c.JPEG"]
    assert "Could not open or find file" in caplog.text
    assert "a.png" in caplog.text


def test_no_image_at_all(root: Path) -> None:
    (root / "list.txt").write_text("nowhere.png 1\n")
    with pytest.raises(DataError, match="none of the 1 files"):
        convert(root)
    assert not (root / "db").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png 1\nb.png\n", r"list\.txt:2: expected '<file name> <label>', found 'b\.png'"),
        ("a.png one\n", r"list\.txt:1: expected"),
        ("a.png 99999999999\n", r"list\.txt:1: expected"),
        ("\n", "contains no images"),
    ],
)
def test_broken_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_image_list(tmp_path / "list.txt")


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not an image list: .*No such file"):
        read_image_list(tmp_path / "nowhere.txt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize_height": 3}, "give both or neither"),
        ({"resize_height": -3, "resize_width": 3}, "give both or neither"),
    ],
)
def test_options_that_exclude_each_other(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ImageOptions(**settings)


def test_an_unknown_format_to_encode_to(root: Path) -> None:
    with pytest.raises(UsageError, match="unknown image format 'nix'"):
        convert(root, ImageOptions(encoded=True, encode_type="nix"))
