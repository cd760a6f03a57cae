"""What resize_param, noise_param and distort_param make of pixels, against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.images import colour
from demitasse.caffe.images.distortion import DistortionPolicy
from demitasse.caffe.images.equalization import locally_equalized
from demitasse.caffe.images.noise import NoisePolicy
from demitasse.caffe.images.resampling import resample
from demitasse.caffe.images.resize_policy import ResizePolicy
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError

INTERPOLATIONS = {
    "LINEAR": cv2.INTER_LINEAR, "AREA": cv2.INTER_AREA, "NEAREST": cv2.INTER_NEAREST, "CUBIC": cv2.INTER_CUBIC,
    "LANCZOS4": cv2.INTER_LANCZOS4,
}  # fmt: skip
BORDERS = {"CONSTANT": cv2.BORDER_CONSTANT, "MIRRORED": cv2.BORDER_REFLECT_101, "REPEAT_NEAREST": cv2.BORDER_REPLICATE}


def picture(height: int = 40, width: int = 52, channels: int = 3) -> np.ndarray:
    """Returns noise and large shapes, (channels, height, width)."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (channels, height, width), np.uint8)
    image[:, : height // 2] = rng.integers(0, 256, (channels, 1, width // 4 + 1), np.uint8).repeat(4, 2)[..., :width]
    return image


def mat(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def planes(mat: np.ndarray) -> np.ndarray:
    return mat.reshape(*mat.shape[:2], -1).transpose(2, 0, 1)


def assert_close(found: np.ndarray, expected: np.ndarray, most: int = 1, share: float = 0.0) -> None:
    """Grey levels differ by ``most`` at most, except for a share of the pixels."""
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    differs = np.abs(found.astype(int) - expected.astype(int)) > most
    assert differs.mean() <= share


@pytest.mark.parametrize("size", [(20, 13), (25, 30), (40, 52), (63, 71), (30, 90)])
@pytest.mark.parametrize("name", sorted(INTERPOLATIONS))
def test_interpolations(name: str, size: tuple[int, int]) -> None:
    expected = cv2.resize(mat(picture()), size[::-1], interpolation=INTERPOLATIONS[name])
    assert_close(resample(picture(), *size, name), planes(expected))


def policy(settings: str) -> ResizePolicy:
    return ResizePolicy(prototxt.parse(settings, schema.ResizeParameter(), "net"))


@pytest.mark.parametrize("border", sorted(BORDERS))
@pytest.mark.parametrize("size", [(64, 30), (30, 64), (40, 52)])
def test_margins_of_fitted_images(size: tuple[int, int], border: str) -> None:
    height, width = size
    resize = policy(
        f"height: {height} width: {width} resize_mode: FIT_LARGE_SIZE_AND_PAD pad_mode: {border} "
        "pad_value: 10 pad_value: 20 pad_value: 30"
    )
    scale = min(height / 40, width / 52)
    inner = cv2.resize(mat(picture()), (int(np.float32(52 * scale)), int(np.float32(40 * scale))))
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    expected = cv2.copyMakeBorder(
        *(inner, top, height - inner.shape[0] - top, left, width - inner.shape[1] - left, BORDERS[border]),
        value=(10, 20, 30),
    )
    assert_close(resize(picture(), np.random.default_rng(0)), planes(expected))
    assert resize.new_shape((3, 40, 52)) == (3, height, width)


def test_the_smallest_size_that_is_not_smaller() -> None:
    resize = policy("height: 20 width: 20 resize_mode: FIT_SMALL_SIZE interp_mode: NEAREST")
    assert resize.new_shape((3, 40, 52)) == (3, 20, 26)
    assert resize.new_shape((3, 52, 40)) == (3, 26, 20)
    assert_close(resize(picture(), np.random.default_rng(0)), picture()[:, ::2, ::2])


def test_an_interpolation_is_drawn() -> None:
    resize = policy("height: 20 width: 26 interp_mode: AREA interp_mode: NEAREST")
    rng = np.random.default_rng(0)
    nearest = [np.array_equal(resize(picture(), rng), picture()[:, ::2, ::2]) for _ in range(100)]
    assert 30 < sum(nearest) < 70


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(NetError, match="resize_param has height 3 and width 0; expected both above 0"):
        policy("height: 3")
    with pytest.raises(DataError, match="found 2 pad_value for 3 channels; expected 1 or 3"):
        policy("height: 9 width: 3 resize_mode: FIT_LARGE_SIZE_AND_PAD pad_value: 1 pad_value: 2")(
            picture(), np.random.default_rng(0)
        )
    with pytest.raises(NetError, match="convert_to_lab makes no 8-bit pixels"):
        noise("convert_to_lab: true")
    with pytest.raises(NetError, match=r"contrast_lower is 2 and contrast_upper 1; expected 0 <= lower <= upper"):
        DistortionPolicy(schema.DistortionParameter(contrast_lower=2, contrast_upper=1))
    with pytest.raises(NetError, match="brightness_delta or hue_delta is negative"):
        DistortionPolicy(schema.DistortionParameter(hue_delta=-1))
    with pytest.raises(DataError, match="distort_param changes colours, but the image has 1 channels"):
        DistortionPolicy(schema.DistortionParameter())(picture(channels=1), np.random.default_rng(0))
    with pytest.raises(DataError, match="noise_param changes colours, but the image has 2 channels"):
        noise("decolorize: true")(picture(channels=2), np.random.default_rng(0))


def test_colour_spaces() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    hsv = planes(cv2.cvtColor(mat(image), cv2.COLOR_BGR2HSV))
    # hues go round, and are arbitrary where there is little colour
    turn = np.abs(colour.to_hsv(image)[0].astype(int) - hsv[0])
    assert np.minimum(turn, 180 - turn).max() <= 1
    assert_close(colour.to_hsv(image)[1:], hsv[1:])
    assert_close(colour.from_hsv(hsv), planes(cv2.cvtColor(mat(hsv), cv2.COLOR_HSV2BGR)), 2)
    assert_close(colour.to_grey(image), cv2.cvtColor(mat(image), cv2.COLOR_BGR2GRAY))
    ycrcb = planes(cv2.cvtColor(mat(image), cv2.COLOR_BGR2YCrCb))
    assert_close(colour.to_ycrcb(image), ycrcb)
    assert_close(colour.from_ycrcb(ycrcb), planes(cv2.cvtColor(mat(ycrcb), cv2.COLOR_YCrCb2BGR)))


def noise(settings: str) -> NoisePolicy:
    return NoisePolicy(prototxt.parse(settings, schema.NoiseParameter(), "net"))


def luminance(change):  # type: ignore[no-untyped-def]
    def changed(image: np.ndarray) -> np.ndarray:
        channels = list(cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)))
        channels[0] = change(channels[0])
        return cv2.cvtColor(cv2.merge(channels), cv2.COLOR_YCrCb2BGR)

    return changed


CROSS = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3), (1, 1))
NOISES = {
    "decolorize": lambda x: cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    "gauss_blur": lambda x: cv2.GaussianBlur(x, (7, 7), 1.5),
    "hist_eq": luminance(cv2.equalizeHist),
    "clahe": luminance(cv2.createCLAHE(4).apply),
    "erode": lambda x: cv2.erode(x, CROSS),
    "posterize": lambda x: x // 64 * 64 + 32,
    "inverse": cv2.bitwise_not,
    "convert_to_hsv": lambda x: cv2.cvtColor(x, cv2.COLOR_BGR2HSV),
}


@pytest.mark.parametrize("name", sorted(NOISES))
def test_noises(name: str) -> None:
    found = noise(f"{name}: true")(picture(), np.random.default_rng(0))
    # rounded luminances may fall into the next level, which equalization moves further
    assert_close(found, planes(NOISES[name](mat(picture()))), 2, 0.03 if name in ("hist_eq", "clahe") else 0)


@pytest.mark.parametrize("shape", [(40, 56), (41, 50), (64, 64)])
def test_equalized_planes(shape: tuple[int, int]) -> None:
    plane = picture(*shape)[0]
    assert_close(locally_equalized(plane), cv2.createCLAHE(4).apply(plane))
    assert_close(noise("hist_eq: true")(plane[None], np.random.default_rng(0))[0], cv2.equalizeHist(plane))


def test_flat_planes_stay() -> None:
    flat = np.full((1, 9, 9), 7, np.uint8)
    np.testing.assert_array_equal(noise("hist_eq: true")(flat, np.random.default_rng(0)), flat)


def test_jpeg_and_salt() -> None:
    rng = np.random.default_rng(0)
    good, bad = (noise(f"jpeg: {quality}")(picture(), rng) for quality in (95, 5))
    errors = [np.abs(image.astype(int) - picture()).mean() for image in (good, bad)]
    assert errors[0] < 30 < errors[1]
    black = np.zeros((3, 50, 40), np.uint8)
    salted = noise("saltpepper: true saltpepper_param { fraction: 0.1 value: 1 value: 2 value: 3 }")(black, rng)
    hit = (salted != 0).any(0)
    assert 0.08 < hit.mean() < 0.1  # some positions are hit twice
    np.testing.assert_array_equal(salted[:, hit], np.array([[1], [2], [3]]).repeat(hit.sum(), 1))
    with pytest.raises(DataError, match="found 2 values of saltpepper_param for 3 channels"):
        noise("saltpepper: true saltpepper_param { fraction: 0.1 value: [1, 2] }")(black, rng)


def distorted(settings: str, image: np.ndarray, count: int = 60) -> list[np.ndarray]:
    policy = DistortionPolicy(prototxt.parse(settings, schema.DistortionParameter(), "net"))
    rng = np.random.default_rng(0)
    return [policy(image, rng) for _ in range(count)]


def test_distortions() -> None:
    grey = np.full((3, 4, 4), 100, np.uint8)
    levels = [int(image[0, 0, 0]) for image in distorted("brightness_prob: 1 brightness_delta: 32", grey)]
    assert min(levels) < 75
    assert 68 <= min(levels) <= max(levels) <= 132
    levels = [
        int(image[0, 0, 0]) for image in distorted("contrast_prob: 1 contrast_lower: 0.5 contrast_upper: 1.5", grey)
    ]
    assert min(levels) < 60
    assert 50 <= min(levels) <= max(levels) <= 150
    red = np.array([20, 60, 200], np.uint8).reshape(3, 1, 1).repeat(4, 1)
    hue, saturation, value = colour.to_hsv(red)[:, 0, 0]
    for image in distorted("saturation_prob: 1 saturation_lower: 0.5 saturation_upper: 1", red):
        found = colour.to_hsv(image)[:, 0, 0]
        assert abs(int(found[0]) - hue) <= 2
        assert saturation / 2 - 2 <= found[1] <= saturation + 2
        assert found[2] == value
    hues = [int(colour.to_hsv(image)[0, 0, 0]) for image in distorted("hue_prob: 1 hue_delta: 18", red)]
    assert max(hues) > hue + 10
    assert 0 <= min(hues) <= max(hues) <= hue + 19
    orders = {tuple(image[:, 0, 0]) for image in distorted("random_order_prob: 1", red)}
    assert len(orders) == 6
    assert all(np.array_equal(image, red) for image in distorted("", red))
    changed = [
        not np.array_equal(image, grey) for image in distorted("brightness_prob: 0.5 brightness_delta: 32", grey)
    ]
    assert 15 < sum(changed) < 45
