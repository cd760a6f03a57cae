"""ImageSegData and DenseImageData: lists of images with the classes of their pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.sources.segmentation import SegmentationSource
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

COUNT, HEIGHT, WIDTH = 5, 8, 12
PIXELS = [np.random.default_rng(index).integers(0, 256, (3, HEIGHT, WIDTH), np.uint8) for index in range(COUNT)]
CLASSES = [np.random.default_rng(index + 9).integers(0, 4, (HEIGHT, WIDTH), np.uint8) for index in range(COUNT)]
THREE = 'top: "data" top: "label" top: "size"'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for index in range(COUNT):
        Path(f"{index}.png").write_bytes(encode(PIXELS[index], "png"))
        Path(f"{index}_classes.png").write_bytes(encode(CLASSES[index][None], "png"))
    Path("list").write_text("".join(f"{index}.png {index}_classes.png\n" for index in range(COUNT)))


def source(
    kind: str, settings: str, transform: str = "", tops: str = 'top: "data" top: "label"', phase: int = schema.TEST
) -> SegmentationSource:
    name = "image_data_param" if kind == "ImageSegData" else "dense_image_data_param"
    text = f'layer {{ name: "d" type: "{kind}" {tops} {name} {{ {settings} }} transform_param {{ {transform} }} }}'
    found = SOURCES[kind](prototxt.parse(text, schema.NetParameter(), "net").layer[0], phase)
    assert isinstance(found, SegmentationSource)
    return found


LIST = 'source: "list" label_type: PIXEL batch_size: 2'


def test_pairs_come_in_the_order_of_the_list() -> None:
    for kind, settings in (("ImageSegData", LIST), ("DenseImageData", 'source: "list" batch_size: 2')):
        found = source(kind, settings)
        assert found.shapes == [(2, 3, HEIGHT, WIDTH), (2, 1, HEIGHT, WIDTH)]
        for first in (0, 2, 4):
            images, labels = found.next_batch()
            for row, index in enumerate((first, (first + 1) % COUNT)):
                assert np.array_equal(images[row], PIXELS[index])
                assert np.array_equal(labels[row, 0], CLASSES[index])


def test_a_third_top_has_the_sizes_at_most_those_of_the_crop() -> None:
    found = source("ImageSegData", LIST, "crop_h: 5 crop_w: 20", THREE)
    assert found.shapes == [(2, 3, 5, 20), (2, 1, 5, 20), (2, 1, 1, 2)]
    assert found.next_batch()[2].tolist() == [[[[5, WIDTH]]]] * 2


def test_new_sizes_are_bilinear_for_images_and_nearest_for_labels() -> None:
    for kind, more in (("ImageSegData", " label_type: PIXEL"), ("DenseImageData", "")):
        images, labels = source(kind, f'source: "list" batch_size: 1 new_height: 16 new_width: 9{more}').next_batch()
        wanted = cv2.resize(PIXELS[0].transpose(1, 2, 0), (9, 16), interpolation=cv2.INTER_LINEAR).transpose(2, 0, 1)
        assert np.abs(images[0].numpy() - wanted).max() <= 1
        assert np.array_equal(labels[0, 0], cv2.resize(CLASSES[0], (9, 16), interpolation=cv2.INTER_NEAREST))


def test_labels_may_be_one_class_for_the_image_or_none() -> None:
    Path("classes").write_text("0.png 7\n1.png 3\n")
    labels = source("ImageSegData", 'source: "classes" batch_size: 2').next_batch()[1]
    assert labels.unique().tolist() == [3, 7]
    assert labels[0].unique().tolist() == [7]
    for more, wanted in (("", 255), (" ignore_label: 9", 9)):
        labels = source("ImageSegData", f'source: "classes" label_type: NONE batch_size: 2{more}').next_batch()[1]
        assert labels.unique().tolist() == [wanted]
    labels = source("ImageSegData", 'source: "classes" has_label: false batch_size: 2').next_batch()[1]
    assert labels.unique().tolist() == [255]


def test_padding_has_the_label_that_does_not_count() -> None:
    labels = source("ImageSegData", f"{LIST} ignore_label: 11", "crop_size: 16").next_batch()[1]
    assert (labels[0, 0, :4] == 11).all()
    assert (labels[0, 0, :, :2] == 11).all()


def test_label_images_may_be_smaller_by_a_factor() -> None:
    settings = 'source: "list" batch_size: 1 new_height: 8 new_width: 12 label_divide_factor: 4'
    found = source("DenseImageData", settings)
    assert found.shapes == [(1, 3, 8, 12), (1, 1, 2, 3)]
    assert np.array_equal(found.next_batch()[1][0, 0], CLASSES[0][::4, ::4])


def test_grey_images_folders_and_mirrors() -> None:
    Path("sub").mkdir()
    for name in ("0.png", "0_classes.png"):
        Path(name).rename(Path("sub") / name)
    Path("one").write_text("0.png 0_classes.png\n")
    found = source("DenseImageData", 'source: "one" root_folder: "sub/" is_color: false mirror: true')
    assert found.shapes == [(1, 1, HEIGHT, WIDTH)] * 2
    kinds = set()
    for _ in range(20):
        labels = found.next_batch()[1][0, 0].numpy().astype(np.uint8)
        assert np.array_equal(labels, CLASSES[0]) or np.array_equal(labels, CLASSES[0][:, ::-1])
        kinds.add(labels.tobytes())
    assert len(kinds) == 2


def test_single_images_may_have_any_size() -> None:
    Path("1.png").write_bytes(encode(np.zeros((3, 4, 6), np.uint8), "png"))
    Path("1_classes.png").write_bytes(encode(np.zeros((1, 4, 6), np.uint8), "png"))
    found = source("DenseImageData", 'source: "list" batch_size: 1')
    assert [found.next_batch()[0].shape[2:] for _ in range(2)] == [(HEIGHT, WIDTH), (4, 6)]
    with pytest.raises(DataError, match=r"1.png: the image has shape \[3, 4, 6\], but the first of the batch"):
        source("DenseImageData", 'source: "list" batch_size: 2').next_batch()


@pytest.mark.parametrize(
    ("kind", "settings", "tops", "message"),
    [
        ("ImageSegData", 'source: "list" batch_size: 0', "", "batch_size above 0"),
        ("ImageSegData", LIST, 'top: "data"', "two or three tops"),
        ("DenseImageData", 'source: "list"', THREE, "two tops"),
        ("DenseImageData", 'source: "list" new_height: 3', "", "give both or neither"),
        ("DenseImageData", 'source: "list" label_divide_factor: 2', "", "label_divide_factor is 2"),
        ("DenseImageData", 'source: "list" label_divide_factor: 0', "", "label_divide_factor is 0"),
    ],
)
def test_settings_that_make_no_sense(kind: str, settings: str, tops: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        source(kind, settings, tops=tops or 'top: "data" top: "label"')


def test_files_that_do_not_fit_are_named() -> None:
    Path("0_classes.png").write_bytes(encode(np.zeros((1, 3, 3), np.uint8), "png"))
    with pytest.raises(DataError, match=r"0_classes\.png: the label image has 3 x 3 pixels; expected 8 x 12"):
        source("ImageSegData", LIST)
    with pytest.raises(DataError, match=r"0.png: the label is '0_classes.png'; .*set label_type: PIXEL"):
        source("ImageSegData", 'source: "list"')
    Path("0_classes.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"0_classes\.png: not a readable image"):
        source("ImageSegData", LIST)
    Path("bad").write_text("0.png\n")
    with pytest.raises(DataError, match=r"bad:1: expected '<image file> <label>', found '0.png'"):
        source("DenseImageData", 'source: "bad"')
    Path("empty").write_text("\n")
    with pytest.raises(DataError, match="no images"):
        source("DenseImageData", 'source: "empty"')
