"""WindowData: which windows are drawn, and what of the image they show."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.sources.window_data import WindowData
from demitasse.caffe.sources.windows import Framing, read_window_file
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

IMAGE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8), (3, 3), 0)  # BGR


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index in range(2):
        (tmp_path / f"{index}.png").write_bytes(encode((IMAGE ^ (255 * index)).transpose(2, 0, 1), "png"))
    windows(tmp_path, ["7 0.8 2 3 11 12", "5 0.1 10 4 25 18", "6 0.4 0 0 9 9"], ["9 0.5 0 0 29 19"])
    return tmp_path


def windows(root: Path, *of_images: list[str]) -> None:
    text = "".join(
        f"# {index}\n{index}.png\n3\n20\n30\n{len(lines)}\n" + "".join(f"{line}\n" for line in lines)
        for index, lines in enumerate(of_images)
    )
    (root / "windows").write_text(text)


def source(root: Path, settings: str = "batch_size: 8", transform: str = "crop_size: 10") -> WindowData:
    text = (
        f'layer {{ name: "d" type: "WindowData" top: "data" top: "label" transform_param {{ {transform} }} '
        f'window_data_param {{ source: "{root}/windows" root_folder: "{root}/" bg_threshold: 0.3 {settings} }} }}'
    )
    found = WindowData(prototxt.parse(text, schema.NetParameter(), "net").layer[0], schema.TRAIN)
    found.workers = 0
    return found


def test_background_comes_first_then_a_fraction_of_objects(root: Path) -> None:
    found = source(root, "batch_size: 8 fg_fraction: 0.4")
    assert found.shapes == [(8, 3, 10, 10), (8,)]
    seen = [found.next_batch()[1].tolist() for _ in range(10)]
    assert all(labels[:5] == [0] * 5 for labels in seen)
    assert {label for labels in seen for label in labels[5:]} == {7, 9}


def test_a_window_is_warped_to_the_crop(root: Path) -> None:
    data, labels = source(root, "batch_size: 6 fg_fraction: 0.5").next_batch()
    background = cv2.resize(IMAGE[4:19, 10:26], (10, 10)).transpose(2, 0, 1)
    np.testing.assert_allclose(data[0].numpy(), background, rtol=0, atol=1)
    for image, label in zip(data[3:].numpy(), labels[3:].tolist(), strict=True):
        part = IMAGE[3:13, 2:12] if label == 7 else 255 - IMAGE
        np.testing.assert_allclose(image, cv2.resize(part, (10, 10)).transpose(2, 0, 1), rtol=0, atol=1)


def only(root: Path, window: str) -> None:
    windows(root, [f"4 0.9 {window}"])


def test_mean_scale_and_mirror(root: Path) -> None:
    only(root, "2 3 11 12")
    mean = np.arange(3 * 14 * 14, dtype=np.float32).reshape(3, 14, 14)
    write_mean(root / "mean", mean)
    settings = "batch_size: 30 fg_fraction: 1 scale: 0.5"
    found = source(root, settings, f'crop_size: 10 mirror: true mean_file: "{root}/mean"').next_batch()[0].numpy()
    plain = IMAGE[3:13, 2:12].transpose(2, 0, 1)
    either = [(image - mean[:, 2:12, 2:12]) / 2 for image in (plain, plain[..., ::-1])]
    which = [[np.array_equal(image, expected) for expected in either] for image in found]
    assert all(sum(each) == 1 for each in which)
    assert {tuple(each) for each in which} == {(True, False), (False, True)}
    values = "crop_size: 10 mean_value: 1 mean_value: 2 mean_value: 3"
    found = source(root, settings, values).next_batch()[0].numpy()
    np.testing.assert_array_equal(found[0], (plain - np.float32([1, 2, 3])[:, None, None]) / 2)


def test_context_is_padded_with_zeros_beside_the_image(root: Path) -> None:
    only(root, "0 0 5 5")
    data = source(root, "batch_size: 1 fg_fraction: 1 context_pad: 2").next_batch()[0][0].numpy()
    # the window of 6 pixels grows to 10 and one more, from -2 to 8
    inside = cv2.resize(IMAGE[:9, :9], (8, 8)).transpose(2, 0, 1)
    np.testing.assert_allclose(data[:, 2:, 2:], inside, rtol=0, atol=1)
    assert not data[:, :2].any()
    assert not data[:, :, :2].any()


def test_the_padding_is_mirrored_too(root: Path) -> None:
    only(root, "0 5 5 10")
    found = source(root, "batch_size: 20 fg_fraction: 1 context_pad: 2", "crop_size: 10 mirror: true")
    images = {image.tobytes(): image for image in found.next_batch()[0].numpy()}
    one, other = images.values()
    np.testing.assert_array_equal(one[:, :, ::-1], other)


def test_square_windows() -> None:
    square = Framing(crop=10, pad=0, square=True)
    region = square.region(10, 5, 19, 8, 30, 20)  # 10 wide, 4 high, round (15, 7)
    assert (region.x1, region.x2, region.y1, region.y2) == (10, 20, 2, 12)
    assert (region.width, region.height, region.left, region.top) == (10, 10, 0, 0)
    region = square.region(20, 16, 29, 19, 30, 20)
    assert (region.y1, region.y2, region.x2, region.right) == (13, 19, 29, 1)
    assert region.height == 6


def test_rounding_keeps_the_crop(root: Path) -> None:
    random = np.random.default_rng(1)
    for _ in range(500):
        x1, x2 = sorted(random.integers(0, 30, 2).tolist())
        y1, y2 = sorted(random.integers(0, 20, 2).tolist())
        framing = Framing(10, int(random.integers(5)), bool(random.integers(2)))
        region = framing.region(x1, y1, x2, y2, 30, 20)
        assert 0 <= region.x1 <= region.x2 < 30
        assert 0 <= region.y1 <= region.y2 < 20
        for mirror in (False, True):
            top, left, height, width = region.offset(10, mirror)
            assert min(top, left, height - 1, width - 1) >= 0
            assert max(top + height, left + width) <= 10


@pytest.mark.parametrize("cache", ["true", "false"])
def test_cached_images_are_read_once(root: Path, cache: str) -> None:
    only(root, "0 0 5 5")
    found = source(root, f"batch_size: 2 fg_fraction: 1 cache_images: {cache}")
    found.next_batch()
    (root / "0.png").unlink()
    if cache == "true":
        assert found.next_batch()[0].shape == (2, 3, 10, 10)
    else:
        with pytest.raises(DataError, match=r"0\.png: cannot be read: No such file"):
            found.next_batch()


def test_a_resumed_run_draws_the_same_windows(root: Path) -> None:
    unbroken, resumed = source(root), source(root)
    unbroken.next_batch()
    resumed.restore(json.loads(json.dumps(unbroken.state())))
    for one, other in zip(unbroken.next_batch(), resumed.next_batch(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains no images"),
        ("# 1\na.png\n3\n5\n5\n0\n", "image 0: .*expected '# 0', found '# 1'"),
        ("# 0\na.png\n3\n5\n5\n2\n1 0.5 0 0 1 1\n", "image 0: .*2 windows need 12 numbers, found 6"),
        ("# 0\na.png\n3\n5\n5\n1\n1 0.5 0 0 nan 1\n", "image 0: .*not finite"),
        ("# 0\na.png\n3\n5\n5\n1\n1 0.5 0 x 1 1\n", "image 0: not a window file"),
        ("# 0\na.png\n3\n", "image 0: not a window file"),
        ("# 0\na.png\n3\n5\n5\n-1\n", "image 0: .*-1 windows"),
    ],
)
def test_broken_window_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "windows").write_text(text)
    with pytest.raises(DataError, match=message):
        read_window_file(tmp_path / "windows")


@pytest.mark.parametrize(
    ("settings", "transform", "message"),
    [
        (
            "batch_size: 8",
            "",
            "window_data_param has batch_size 8 and transform_param crop_size 0; expected both above 0",
        ),
        ("batch_size: 8 crop_mode: 'round'", "crop_size: 10", "crop_mode is 'round'; expected 'warp' or 'square'"),
        ("batch_size: 8 context_pad: 5", "crop_size: 10", "context_pad is 5; expected less than half of crop_size 10"),
        ("batch_size: 8", "crop_size: 10 mean_value: 1 mean_value: 2", "2 mean_value for 3 channels"),
    ],
)
def test_settings_without_a_meaning(root: Path, settings: str, transform: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        source(root, settings, transform)


@pytest.mark.parametrize(
    ("window", "settings", "message"),
    [
        ("4 0.9 2 3 40 12", "", r"0\.png: window \[2, 3, 40, 12\] reaches beyond the image of 30 x 20"),
        ("4 0.9 90 3 95 12", "context_pad: 1", r"0\.png: window .* does not overlap the image of 30 x 20"),
        ("0 0.9 0 0 1 1", "", "a window with overlap 0.5 or more has class 0"),
        ("4 0.1 0 0 1 1", "", "there are no windows of objects, but each batch needs 2"),
    ],
)
def test_windows_that_cannot_be_drawn(root: Path, window: str, settings: str, message: str) -> None:
    windows(root, [window])
    with pytest.raises(DataError, match=message):
        source(root, f"batch_size: 2 fg_fraction: 1 {settings}").next_batch()
