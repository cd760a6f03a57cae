from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.pycaffe import Classifier
from demitasse.pycaffe.net_spec import layers as L
from tests.pycaffe.images import summing_net

IMAGES = [np.random.default_rng(seed).random((6, 8, 3)).astype(np.float32) for seed in range(3)]


def test_the_centre(tmp_path: Path) -> None:
    classifier = Classifier(
        *summing_net(tmp_path), image_dims=(6, 8), mean=np.array([1.0, 2.0, 3.0]), raw_scale=10, channel_swap=(2, 1, 0)
    )
    found = classifier.predict(IMAGES, oversample=False)
    for image, prediction in zip(IMAGES, found, strict=True):
        centre = image[1:5, 2:6, ::-1]
        assert prediction == pytest.approx((10 * centre - [1, 2, 3]).sum((0, 1)), rel=1e-5)


def test_ten_pieces(tmp_path: Path) -> None:
    classifier = Classifier(*summing_net(tmp_path), image_dims=(6, 8), input_scale=0.5)
    found = classifier.predict(IMAGES)
    assert found.shape == (3, 3)
    for image, prediction in zip(IMAGES, found, strict=True):
        pieces = [image[:4, :4], image[:4, 4:], image[2:, :4], image[2:, 4:], image[1:5, 2:6]]
        assert prediction == pytest.approx(np.mean([piece.sum((0, 1)) for piece in pieces], 0) / 2, rel=1e-5)


def test_whole_images(tmp_path: Path) -> None:
    classifier = Classifier(*summing_net(tmp_path))
    assert classifier.image_dims.tolist() == classifier.crop_dims.tolist() == [4, 4]
    assert classifier.predict([np.full((9, 5, 3), 0.5)], oversample=False) == pytest.approx(np.full((1, 3), 8.0))


def test_what_does_not_fit(tmp_path: Path) -> None:
    model, weights = summing_net(tmp_path)
    classifier = Classifier(model, weights)
    with pytest.raises(ValueError, match="no images"):
        classifier.predict([])
    with pytest.raises(ValueError, match=r"shape \(4, 4, 1\); input 'data' expects images \(height, width, 3\)"):
        classifier.predict([IMAGES[0], np.zeros((4, 4, 1))])
    for dims in ((3, 4), (8,), (4, 4, 4)):
        with pytest.raises(ValueError, match="image_dims"):
            Classifier(model, weights, image_dims=dims)


def test_nets_without_images(tmp_path: Path) -> None:
    _, weights = summing_net(tmp_path)
    for top, match in (
        (L.DummyData(shape={"dim": [1, 3, 4, 4]}), "no input"),
        (L.ReLU(L.Input(shape={"dim": [1, 3]})), "expected images"),
    ):
        (tmp_path / "other.prototxt").write_text(str(top.to_proto()))
        with pytest.raises(ValueError, match=match):
            Classifier(tmp_path / "other.prototxt", weights)
