"""Lists of files in any text form, and what they may name."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.image_list import read_image_list
from demitasse.caffe.images.mean import read_mean
from demitasse.caffe.sources import SOURCES, Source
from demitasse.caffe.sources.windows import read_window_file
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.convert_imageset import convert_imageset
from demitasse.errors import DataError

posix = pytest.mark.skipif(os.name != "posix", reason="FIFOs and devices are files of POSIX")


def image(path: Path | bytes, value: int = 7) -> None:
    with open(path, "wb") as file:
        file.write(cv2.imencode(".png", np.full((4, 4, 3), value, np.uint8))[1].tobytes())


def of_list(content: bytes, folder: Path, kind: str, **settings: object) -> Source:
    (folder / "list.txt").write_bytes(content)
    spec = schema.LayerParameter(type=kind, top=["data", "label"])
    field = {"ImageData": "image_data_param", "HDF5Data": "hdf5_data_param", "WindowData": "window_data_param"}[kind]
    param = getattr(spec, field)
    param.source, param.batch_size = str(folder / "list.txt"), 1
    for name, value in settings.items():
        setattr(param, name, value)
    spec.transform_param.crop_size = 4
    source = SOURCES[kind](spec, schema.TRAIN)
    source.workers = 0
    return source


FORMS = [b"\xef\xbb\xbf%s\r\n\r\n", b"%s\n", b"%s\r", b"%s", b"  %s \t\r\n"]


@pytest.mark.parametrize("form", FORMS)
def test_image_lists_of_any_form_and_names_with_spaces(tmp_path: Path, form: bytes) -> None:
    image(tmp_path / "my image 3.png")
    line = f"{tmp_path}/my image 3.png 12".encode()
    assert read_image_list_of(tmp_path, form % line) == [(f"{tmp_path}/my image 3.png", 12)]
    data, label = of_list(form % line, tmp_path, "ImageData").next_batch()
    assert (data.unique().tolist(), label.tolist()) == ([7], [12])


def read_image_list_of(folder: Path, content: bytes) -> list[tuple[str, int]]:
    (folder / "list.txt").write_bytes(content)
    return [tuple(entry) for entry in read_image_list(folder / "list.txt")]


@pytest.mark.parametrize("form", FORMS)
def test_hdf5_lists_of_any_form_and_names_with_spaces(tmp_path: Path, form: bytes) -> None:
    for name in ("my file 1.h5", "second.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["label"] = np.full((1, 2), len(name)), np.zeros(1)
    source = of_list(form % f"{tmp_path}/my file 1.h5".encode(), tmp_path, "HDF5Data")
    assert source.next_batch()[0].tolist() == [[12, 12]]
    two = f"{tmp_path}/second.h5 {tmp_path}/second.h5".encode()
    assert of_list(form % two, tmp_path, "HDF5Data").next_batch()[0].tolist() == [[9, 9]]


@pytest.mark.parametrize("form", [b"\xef\xbb\xbf%s", b"%s", b"\n%s\n\n"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_window_files_of_any_form_and_names_with_spaces(tmp_path: Path, form: bytes, end: bytes) -> None:
    image(tmp_path / "my image 3.png")
    lines = [b"# 0", f"{tmp_path}/my image 3.png".encode(), b"3", b"4", b"4", b"1", b"1 0.9 0 0 3 3"]
    lines += [b"# 1", b"second", b"3", b"4", b"4", b"0"]
    content = form % end.join(lines)
    (tmp_path / "list.txt").write_bytes(content)
    assert read_window_file(tmp_path / "list.txt").images == [f"{tmp_path}/my image 3.png", "second"]
    data, label = of_list(content, tmp_path, "WindowData", fg_fraction=1.0).next_batch()
    assert (data.unique().tolist(), label.tolist()) == ([7], [1])


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_a_prototxt_may_have_a_byte_order_mark_and_any_ends_of_lines(tmp_path: Path, end: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(("\ufeff" + end.join(['name: "n"', "", 'layer { name: "a" }'])).encode())
    assert prototxt.read_net(path).layer[0].name == "a"
    assert prototxt.places(path).layers == [f"{path}:3"]


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link"])
def test_a_list_that_names_something_else_than_a_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "link": lambda: (os.mkfifo(tmp_path / "p"), path.symlink_to(tmp_path / "p")),
    }[kind]()
    what = "it is a folder" if kind == "folder" else "it is a device or a pipe"
    window = f"# 0\n{path}\n3\n4\n4\n1\n1 0.9 0 0 3 3".encode()
    for content, source, settings in (
        (f"{path} 1".encode(), "ImageData", {}),
        (str(path).encode(), "HDF5Data", {}),
        (window, "WindowData", {"fg_fraction": 1.0}),
    ):
        with pytest.raises(DataError, match=what):
            of_list(content, tmp_path, source, **settings).next_batch()
    (tmp_path / "images.txt").write_text(f"{path} 1")
    with pytest.raises(DataError, match="none of the 1 files"):
        convert_imageset("", tmp_path / "images.txt", tmp_path / "db")
    for read in (read_image_list, read_window_file, read_mean):
        with pytest.raises(DataError, match=what):
            read(path)


@pytest.mark.parametrize("kind", ["ImageData", "HDF5Data", "WindowData"])
def test_a_list_with_a_zero_byte_is_no_list(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"list\.txt: not .*: byte 4 is 0"):
        of_list(b"a.pn\0g 1\n", tmp_path, kind)


@posix
def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/gr\xfc\xdfe.png"
    try:
        image(name)
    except OSError:
        pytest.skip("the file system takes names of UTF-8 alone")
    data, label = of_list(name + b" 3\n", tmp_path, "ImageData").next_batch()
    assert (data.unique().tolist(), label.tolist()) == ([7], [3])
    assert convert_imageset("", tmp_path / "list.txt", tmp_path / "db") == 1
    with pytest.raises(DataError, match=r"/\\xfc\.png: cannot be read: No such file") as caught:
        of_list(os.fsencode(tmp_path) + b"/\xfc.png 3\n", tmp_path, "ImageData").next_batch()
    assert str(caught.value).encode()
