from __future__ import annotations

import numpy as np
import pytest

from demitasse.pycaffe.io import Transformer


def full() -> Transformer:
    transformer = Transformer({"data": (1, 3, 4, 5)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 0, 1))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([1.0, 2.0, 3.0]))
    transformer.set_input_scale("data", 0.5)
    return transformer


def test_the_order_of_steps() -> None:
    image = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    before = image.copy()
    found = full().preprocess("data", image)
    assert found.dtype == np.float32
    for channel, source in enumerate((2, 0, 1)):
        assert found[channel] == pytest.approx((image[:, :, source] * 255 - (channel + 1)) * 0.5, rel=1e-6)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("batch", [False, True])
def test_deprocess_is_the_way_back(batch: bool) -> None:
    image = np.random.default_rng(0).random((4, 5, 3)).astype(np.float32)
    values = full().preprocess("data", image)
    assert full().deprocess("data", values[None] if batch else values) == pytest.approx(image, abs=1e-6)


def test_one_channel_keeps_its_axis() -> None:
    transformer = Transformer({"data": (1, 1, 2, 2)})
    transformer.set_transpose("data", (2, 0, 1))
    image = np.arange(4.0).reshape(2, 2, 1)
    values = transformer.preprocess("data", image)
    assert values.shape == (1, 2, 2)
    assert np.array_equal(transformer.deprocess("data", values[None]), image)


def test_images_are_resized() -> None:
    assert Transformer({"data": (1, 3, 4, 5)}).preprocess("data", np.ones((9, 9, 3))).shape == (4, 5, 3)


@pytest.mark.parametrize(
    ("mean", "shape"), [(np.zeros(3), (3, 1, 1)), (np.zeros((4, 5)), (1, 4, 5)), (np.zeros((3, 4, 5)), (3, 4, 5))]
)
def test_means(mean, shape) -> None:
    transformer = Transformer({"data": (1, 3, 4, 5)})
    transformer.set_mean("data", mean)
    assert transformer.mean["data"].shape == shape


def test_a_mean_of_another_size_is_resized() -> None:
    transformer = Transformer({"data": (1, 3, 4, 5)})
    mean = np.random.default_rng(0).random((3, 8, 10)) * 200
    transformer.set_mean("data", mean)
    expected = mean.reshape(3, 4, 2, 5, 2).mean((2, 4))
    assert transformer.mean["data"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda t: t.preprocess("label", np.zeros((4, 5, 3))), "'label' is not an input of the net"),
        (lambda t: t.deprocess("label", np.zeros((3, 4, 5))), "is not an input of the net"),
        (lambda t: t.set_raw_scale("label", 2), "is not an input of the net"),
        (lambda t: t.set_input_scale("label", 2), "is not an input of the net"),
        (lambda t: t.set_transpose("data", (1, 0)), "has 2 axes; input 'data' expects 3"),
        (lambda t: t.set_channel_swap("data", (1, 0)), "has 2 channels; input 'data' expects 3"),
        (lambda t: t.set_mean("data", np.zeros(2)), "the mean has 2 channels; input 'data' expects 3"),
        (lambda t: t.set_mean("data", np.zeros((1, 1, 4, 5))), r"the mean has shape \(1, 1, 4, 5\)"),
        (lambda t: t.set_mean("data", np.zeros((2, 4, 5))), "the mean has 2 channels; the input expects 3"),
    ],
)
def test_what_does_not_fit(call, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call(Transformer({"data": (1, 3, 4, 5)}))
