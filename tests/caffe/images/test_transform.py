"""transform_param: (crop(x) - mean) * scale, then the mirror."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.images.transform import ImageTransform
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, FileFormatError, NetError

IMAGE = np.arange(2 * 6 * 5, dtype=np.uint8).reshape(2, 6, 5)


def transformer(settings: str, phase: int = schema.TRAIN) -> ImageTransform:
    layer = schema.LayerParameter()
    return ImageTransform(prototxt.parse(settings, layer.transform_param, "net"), phase)


def run(settings: str, phase: int = schema.TRAIN, count: int = 200, seed: int = 0) -> np.ndarray:
    return transformer(settings, phase)([IMAGE] * count, count, np.random.default_rng(seed))


def test_nothing_asked_for_is_a_change_of_type() -> None:
    batch = run("", count=2)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, [IMAGE, IMAGE])


def test_the_mean_goes_before_the_scale() -> None:
    np.testing.assert_array_equal(
        run("mean_value: 10 mean_value: 20 scale: 0.5", count=1)[0],
        (IMAGE - np.float32([10, 20])[:, None, None]) * 0.5,
    )


def test_a_crop_is_central_in_test() -> None:
    np.testing.assert_array_equal(run("crop_size: 3", schema.TEST, 1)[0], IMAGE[:, 1:4, 1:4])


def test_a_crop_is_anywhere_in_train() -> None:
    corners = {int(image[0, 0, 0]) for image in run("crop_size: 3")}
    assert corners == {5 * top + left for top in range(4) for left in range(3)}


@pytest.mark.parametrize("phase", [schema.TRAIN, schema.TEST])
def test_about_half_are_mirrored_in_both_phases(phase: int) -> None:
    batch = run("mirror: true", phase)
    mirrored = [np.array_equal(image, IMAGE[..., ::-1]) for image in batch]
    plain = [np.array_equal(image, IMAGE) for image in batch]
    assert all(one != other for one, other in zip(mirrored, plain, strict=True))
    assert 70 < sum(mirrored) < 130


def test_the_mean_file_is_cropped_like_the_image_and_mirrored_with_it(tmp_path: Path) -> None:
    write_mean(tmp_path / "mean", IMAGE.astype(np.float32))
    batch = run(f'mean_file: "{tmp_path / "mean"}" crop_size: 2 mirror: true scale: 3')
    np.testing.assert_array_equal(batch, np.zeros((200, 2, 2, 2)))


def test_draws_follow_the_generator() -> None:
    settings = "crop_size: 2 mirror: true"
    np.testing.assert_array_equal(run(settings, seed=5), run(settings, seed=5))
    assert not np.array_equal(run(settings, seed=5), run(settings, seed=6))


def test_without_randomness_nothing_is_drawn() -> None:
    random = np.random.default_rng(0)
    before = random.bit_generator.state
    transformer("crop_size: 2", schema.TEST)([IMAGE], 1, random)
    assert random.bit_generator.state == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("force_color: true force_gray: true", "force_color and force_gray exclude each other"),
        ("rand_rotate: 1 rand_rotate: 2", "has rand_rotate, which only ImageSegData or DenseImageData takes"),
        ("expand_param {}", "transform_param has expand_param, which only AnnotatedData takes"),
        ('mean_file: "m" mean_value: 1', "both mean_file and mean_value"),
    ],
)
def test_settings_that_exclude_each_other(settings: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        transformer(settings)


def test_a_mean_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="nowhere: cannot be read"):
        transformer(f'mean_file: "{tmp_path / "nowhere"}"')


def test_a_crop_may_be_higher_than_wide() -> None:
    np.testing.assert_array_equal(run("crop_h: 4 crop_w: 3", schema.TEST, 1)[0], IMAGE[:, 1:5, 1:4])


def test_an_image_is_resized_before_its_crop() -> None:
    transform = transformer("resize_param { height: 12 width: 10 interp_mode: NEAREST } crop_size: 8", schema.TEST)
    assert transform.output_shape(IMAGE.shape) == (2, 8, 8)
    random = np.random.default_rng(0)
    batch = transform([transform.prepare(IMAGE, random)], 1, random)
    np.testing.assert_array_equal(batch[0], IMAGE.repeat(2, 1).repeat(2, 2)[:, 2:10, 1:9])


def test_half_a_size_of_a_crop() -> None:
    with pytest.raises(NetError, match="crop_h is 4 and crop_w 0; give both or neither"):
        transformer("crop_h: 4")


def test_settings_that_do_not_fit_the_image(tmp_path: Path) -> None:
    write_mean(tmp_path / "mean", np.zeros((2, 6, 6), np.float32))
    for settings, message in [
        ("crop_size: 6", r"crop_size 6 is larger than the image of shape \[2, 6, 5\]"),
        ("mean_value: 1 " * 3, "3 mean_value for 2 channels; expected 1 or 2"),
        (f'mean_file: "{tmp_path / "mean"}"', r"the mean file has shape \[2, 6, 6\], but the image \[2, 6, 5\]"),
    ]:
        with pytest.raises(DataError, match=message):
            transformer(settings).output_shape(IMAGE.shape)
