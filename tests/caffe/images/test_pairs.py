"""An image and its label image go through the same crops, mirrors, sizes and turns."""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.images.label_image import decode_labels, resize_nearest
from demitasse.caffe.images.pairs import Pair, PairTransform
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

HEIGHT, WIDTH = 20, 30
LABELS = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 250
IMAGE = np.stack([LABELS, LABELS, LABELS]).astype(np.uint8)


def transform(settings: str, phase: int = schema.TRAIN) -> PairTransform:
    param = prototxt.parse(settings, schema.TransformationParameter(), "settings")
    return PairTransform(param, phase, ignore_label=255)


def made(settings: str, seed: int = 0, phase: int = schema.TRAIN) -> Pair:
    return transform(settings, phase)(IMAGE, LABELS, np.random.default_rng(seed))


def test_without_settings_nothing_changes() -> None:
    pair = made("")
    assert np.array_equal(pair.image, IMAGE)
    assert np.array_equal(pair.labels, LABELS[None])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "settings", ["crop_size: 7", "crop_h: 5 crop_w: 9", "mirror: true", "crop_size: 6 rotate90n: true mirror: true"]
)
def test_each_pixel_keeps_its_class(settings: str, seed: int) -> None:
    pair = made(settings, seed)
    assert np.array_equal(pair.image[1:2], pair.labels)


def test_crops_mirrors_and_turns_are_random() -> None:
    for settings in ("crop_size: 7", "mirror: true", "crop_size: 20 rotate90n: true"):
        kinds = {made(settings, seed).labels.tobytes() for seed in range(40)}
        assert len(kinds) > 1, settings
    turns = {made("crop_size: 20 rotate90n: true", seed, schema.TEST).labels.tobytes() for seed in range(40)}
    square = LABELS[:, 5:25].astype(np.float32)
    assert turns == {np.rot90(square, turn).tobytes() for turn in range(4)}


def test_the_crop_of_a_test_is_central_and_the_mean_is_subtracted_before_the_scale() -> None:
    pair = made("crop_h: 10 crop_w: 20 mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5", phase=schema.TEST)
    window = IMAGE[:, 5:15, 5:25].astype(np.float32)
    assert np.allclose(pair.image, (window - np.array([1, 2, 3]).reshape(3, 1, 1)) * 0.5)
    assert np.array_equal(pair.labels[0], window[0])


def test_a_small_image_is_padded_by_the_mean_and_its_labels_by_those_that_do_not_count() -> None:
    pair = made("crop_size: 41 mean_value: 100", phase=schema.TEST)
    assert pair.image.shape == (3, 41, 41)
    top, left = 10, 5  # half of the 21 and 11 missing pixels, rounded down
    inside = np.zeros((41, 41), bool)
    inside[top : top + HEIGHT, left : left + WIDTH] = True
    assert np.array_equal(pair.image[2][inside].reshape(HEIGHT, WIDTH), IMAGE[2].astype(np.float32) - 100)
    assert (pair.image[:, ~inside] == 0).all()
    assert (pair.labels[0][~inside] == 255).all()


def test_sizes_and_ratios_are_in_their_ranges() -> None:
    both = transform("crop_size: 64 rand_resize: 0.5 rand_resize: 2 rand_aspect_ratio: 0.5 rand_aspect_ratio: 2")
    ratios, areas = set(), set()
    for seed in range(60):
        inside = both(IMAGE, LABELS, np.random.default_rng(seed)).labels[0] != 255
        height, width = inside.any(1).sum(), inside.any(0).sum()
        ratios.add(round(width / height, 2))
        areas.add(height * width / LABELS.size)
    assert 0.5 * 1.5 * 0.9 < min(ratios) < 1.2
    assert 1.8 < max(ratios) < 2 * 1.5 * 1.1
    assert 0.2 < min(areas) < 0.6
    assert 2 < max(areas) < 4.2


def test_an_angle_turns_both_about_the_middle_counter_clockwise() -> None:
    image = np.zeros((1, 41, 41), np.uint8)
    image[0, 18:23, 30:38] = 200  # a bar on the right of the middle
    labels = (image[0] > 0).astype(np.int32)
    turned = transform("rand_rotate: 89.99 rand_rotate: 90.01 mean_value: 7")
    pairs = [turned(image, labels, np.random.default_rng(seed)) for seed in range(20)]
    kinds = {pair.labels.tobytes(): pair for pair in pairs}
    assert len(kinds) == 2  # half of them are left as they are
    (pair,) = [pair for pair in kinds.values() if not np.array_equal(pair.labels[0], labels)]
    bar = np.argwhere(pair.labels[0] == 1)
    assert bar[:, 0].max() < 13  # now above it
    assert abs(bar[:, 1].mean() - 20) < 1
    assert np.abs(pair.image[0][tuple(bar.T)] - 193).mean() < 40


def test_corners_of_a_turned_pair_do_not_count() -> None:
    turned = transform("rand_rotate: 44 rand_rotate: 46 mean_value: 9")
    pairs = [turned(IMAGE, LABELS, np.random.default_rng(seed)) for seed in range(8)]
    (pair, *_) = [pair for pair in pairs if (pair.labels == 255).any()]
    assert pair.labels[0, 0, 0] == 255
    assert pair.image[:, 0, 0].tolist() == [0, 0, 0]


def test_blur_is_a_gaussian_of_five_by_five() -> None:
    blurred = transform("gaussian_blur: true")
    found = [blurred(IMAGE, LABELS, np.random.default_rng(seed)) for seed in range(20)]
    assert all(np.array_equal(pair.labels[0], LABELS) for pair in found)
    kinds = {pair.image.tobytes() for pair in found}
    assert IMAGE.astype(np.float32).tobytes() in kinds
    assert len(kinds) > 3
    widest = max(found, key=lambda pair: float(np.abs(pair.image - IMAGE).mean()))
    inner = (slice(None), slice(2, -2), slice(2, -2))
    sigmas = np.linspace(0.01, 0.6, 600)
    rows = IMAGE.transpose(1, 2, 0).astype(np.float32)
    errors = [
        np.abs(cv2.GaussianBlur(rows, (5, 5), sigma).transpose(2, 0, 1)[inner] - widest.image[inner]).max()
        for sigma in sigmas
    ]
    assert min(errors) < 0.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('mean_file: "mean"', "give mean_value"),
        ("force_gray: true distort_param {}", "has distort_param, force_gray, which images with label images"),
        ("crop_size: 3 crop_h: 3 crop_w: 3", "either crop_size, or both"),
        ("crop_h: 3", "either crop_size, or both"),
        ("crop_h: 3 crop_w: 4 rotate90n: true", "turns squares; the crop is 3 x 4"),
        ("rand_resize: 1", r"rand_resize is \[1.0\]; expected two numbers"),
        ("rand_resize: 2 rand_resize: 1", "the lower first"),
        ("rand_resize: -1 rand_resize: 1", "from 0.01"),
        ("rand_rotate: nan rand_rotate: 1", "rand_rotate is"),
    ],
)
def test_settings_that_contradict_each_other(settings: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        transform(settings)


def test_means_and_sizes_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="found 2 mean_value for 3 channels"):
        transform("mean_value: 1 mean_value: 2").output_shape((3, 4, 4))
    with pytest.raises(DataError, match="set crop_size"):
        transform("rand_resize: 1 rand_resize: 2").output_shape((3, 4, 4))


def test_label_images_are_read_as_classes() -> None:
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert np.array_equal(decode_labels(encode(classes[None], "png")), classes)
    grey = np.stack([classes] * 3)
    assert np.array_equal(decode_labels(encode(grey, "png")), classes)


def test_the_colours_of_a_palette_are_classes() -> None:
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.frombytes("P", (4, 3), classes.tobytes())
    image.putpalette([255 - value for value in range(256) for _ in range(3)])
    stream = BytesIO()
    image.save(stream, "PNG")
    assert np.array_equal(decode_labels(stream.getvalue()), classes)


def test_a_deep_or_broken_label_image_is_refused() -> None:
    deep = cv2.imencode(".png", np.full((2, 2), 300, np.uint16))[1].tobytes()
    with pytest.raises(DataError, match="expected 8 bits per channel"):
        decode_labels(deep)
    with pytest.raises(DataError, match="not a readable image"):
        decode_labels(b"no image")


@pytest.mark.parametrize("size", [(5, 4), (7, 15), (20, 30), (33, 41)])
def test_nearest_is_that_of_opencv(size: tuple[int, int]) -> None:
    labels = LABELS.astype(np.uint8)
    wanted = cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(resize_nearest(labels, *size), wanted)
