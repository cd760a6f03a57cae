"""ImageData: files in the order of the list, resized like OpenCV, shuffled by the seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.sources.image_data import ImageData
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

COUNT = 7


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index in range(COUNT):
        pixels = np.random.default_rng(index).integers(0, 256, (3, 8, 10), np.uint8)
        (tmp_path / f"an image {index}.png").write_bytes(encode(pixels, "png"))
    (tmp_path / "list").write_text("".join(f"an image {index}.png {index}\n" for index in range(COUNT)))
    return tmp_path


def source(root: Path, settings: str = "batch_size: 4", transform: str = "", phase: int = schema.TRAIN) -> ImageData:
    text = (
        f'layer {{ name: "d" type: "ImageData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'image_data_param {{ source: "{root}/list" root_folder: "{root}/" {settings} }} }}'
    )
    found = ImageData(prototxt.parse(text, schema.NetParameter(), "net").layer[0], phase)
    found.workers = 0
    return found


def labels(found: ImageData, batches: int) -> list[int]:
    return [int(label) for _ in range(batches) for label in found.next_batch()[1]]


def test_batches_follow_the_list_and_wrap_round(root: Path) -> None:
    found = source(root)
    assert found.shapes == [(4, 3, 8, 10), (4,)]
    assert labels(found, 3) == [index % COUNT for index in range(12)]


def test_pixels_are_blue_green_red_or_grey(root: Path) -> None:
    expected = cv2.imread(str(root / "an image 0.png"), cv2.IMREAD_COLOR).transpose(2, 0, 1)
    np.testing.assert_array_equal(source(root).next_batch()[0][0].numpy(), expected)
    grey = cv2.imread(str(root / "an image 0.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_allclose(source(root, "is_color: false").next_batch()[0][0, 0].numpy(), grey, rtol=0, atol=1)


@pytest.mark.parametrize("size", [(5, 7), (16, 11), (8, 9), (1, 1)])
def test_resized_as_by_opencv(root: Path, size: tuple[int, int]) -> None:
    found = source(root, f"batch_size: 2 new_height: {size[0]} new_width: {size[1]}").next_batch()[0].numpy()
    image = cv2.imread(str(root / "an image 1.png"), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(found[1], cv2.resize(image, size[::-1]).transpose(2, 0, 1), rtol=0, atol=1)


def test_a_crop_of_a_resized_image_is_a_part_of_it(root: Path) -> None:
    size = "new_height: 12 new_width: 13"
    whole = source(root, size).next_batch()[0].numpy()
    crop = source(root, size, "crop_size: 6", schema.TEST).next_batch()[0].numpy()
    np.testing.assert_array_equal(crop, whole[:, :, 3:9, 3:9])
    mirrored = source(root, f"batch_size: 20 {size}", "crop_size: 6 mirror: true", schema.TEST).next_batch()[0].numpy()
    plain = source(root, f"batch_size: 20 {size}", "crop_size: 6", schema.TEST).next_batch()[0].numpy()
    which = [
        [np.array_equal(found, image), np.array_equal(found, image[..., ::-1])]
        for found, image in zip(mirrored, plain, strict=True)
    ]
    assert sorted(map(sum, which)) == [1] * 20
    assert len({tuple(each) for each in which}) == 2


def test_every_epoch_has_an_order_of_its_own(root: Path) -> None:
    found = source(root, "batch_size: 7 shuffle: true")
    epochs = [labels(found, 1) for _ in range(5)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 3
    found.seed(0)
    assert labels(found, 1) == epochs[0]
    found.seed(1)
    assert labels(found, 1) != epochs[0]


def test_rand_skip_starts_anywhere_below(root: Path) -> None:
    found = source(root, "batch_size: 1 rand_skip: 4")
    starts = set()
    for seed in range(40):
        found.seed(seed)
        starts.update(labels(found, 1))
    assert starts == {0, 1, 2, 3}


def test_a_state_beyond_the_list_is_refused(root: Path) -> None:
    found = source(root)
    with pytest.raises(DataError, match="the state is at image 8, but the list has 7"):
        found.restore({**found.state(), "position": COUNT + 1})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("new_height: 3", "new_height is 3 and new_width 0; give both or neither"),
        ("batch_size: 0", "ImageData needs a batch_size above 0"),
    ],
)
def test_settings_without_a_meaning(root: Path, settings: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        source(root, settings)


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "an image 0.png").unlink()
    with pytest.raises(DataError, match=r"an image 0\.png: .*No such file"):
        source(root)


def test_images_of_several_sizes_need_a_crop(root: Path) -> None:
    (root / "an image 1.png").write_bytes(encode(np.zeros((3, 9, 9), np.uint8), "png"))
    with pytest.raises(
        DataError, match=r"an image 1\.png: the image has shape \[3, 9, 9\], but the first of the batch has"
    ):
        source(root).next_batch()
    assert source(root, "batch_size: 4", "crop_size: 8").next_batch()[0].shape == (4, 3, 8, 8)
