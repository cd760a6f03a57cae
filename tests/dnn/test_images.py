"""Blobs and boxes, held against OpenCV 4."""

from __future__ import annotations

import numpy as np
import pytest

from demitasse import dnn
from demitasse.errors import DataError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
each = pytest.mark.parametrize

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (54, 96, 3), np.uint8)
SIZES = [(0, 0), (30, 30), (48, 27), (131, 70), (96, 54), (20, 90)]


@each("crop", [False, True])
@each("size", SIZES)
@each("image", [COLOUR, COLOUR[:, :, 0], RANDOM.integers(0, 256, (31, 40, 4), np.uint8)], ids=["bgr", "grey", "bgra"])
def test_images_become_the_same_blobs(image, size, crop):
    arguments = (image, 0.5, size, (10, 20, 30), image.ndim == 3, crop)
    expected, found = cv2.dnn.blobFromImage(*arguments), dnn.blobFromImage(*arguments)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    # OpenCV rounds what its vectors do not reach in another way: a pixel may differ by one
    assert np.abs(found - expected).max() <= 0.5
    assert (found != expected).mean() < 0.02


@each("size", SIZES)
def test_images_of_floats_become_the_same_blobs(size):
    image = COLOUR.astype(np.float32)
    expected = cv2.dnn.blobFromImage(image, 1 / 255, size, (1.5, 2, 3))
    np.testing.assert_allclose(dnn.blobFromImage(image, 1 / 255, size, (1.5, 2, 3)), expected, atol=1e-6)


def test_several_images_become_one_blob_and_images_again():
    images = [COLOUR, COLOUR[::-1].copy()]
    blob = dnn.blobFromImages(images, swapRB=True, ddepth=0)
    np.testing.assert_array_equal(blob, cv2.dnn.blobFromImages(images, swapRB=True, ddepth=cv2.CV_8U))
    again = dnn.imagesFromBlob(dnn.blobFromImages(images))
    assert len(again) == 2
    for image, expected in zip(again, cv2.dnn.imagesFromBlob(cv2.dnn.blobFromImages(images)), strict=True):
        np.testing.assert_array_equal(image, expected)


def test_what_is_no_image_is_refused():
    with pytest.raises(DataError, match=r"an array of shape \[3\] and type int64; expected an image"):
        dnn.blobFromImage(np.arange(3))
    with pytest.raises(DataError, match=r"shapes \[\(3, 54, 96\), \(1, 9, 9\)\]; expected some, all of one shape"):
        dnn.blobFromImages([COLOUR, np.zeros((9, 9))])
    with pytest.raises(DataError, match="swapRB needs three or four channels, found 1"):
        dnn.blobFromImage(COLOUR[:, :, 0], swapRB=True)
    with pytest.raises(DataError, match=r"ddepth is 0; expected CV_32F \(5\), or CV_8U"):
        dnn.blobFromImage(COLOUR, 2.0, ddepth=0)
    for size in (8, (8,), (8.0, 8.0), (-1, 8)):
        with pytest.raises(DataError, match=r"size is .*; expected two whole numbers, width and height"):
            dnn.blobFromImage(COLOUR, size=size)
    with pytest.raises(DataError, match="mean has 5 numbers; expected at most 4"):
        dnn.blobFromImage(COLOUR, mean=range(5))
    with pytest.raises(DataError, match=r"found a blob of shape \[3\]"):
        dnn.imagesFromBlob(np.zeros(3))


@each("eta", [1.0, 0.8])
@each("top_k", [0, 20])
def test_the_same_boxes_are_kept(eta, top_k):
    corners = RANDOM.uniform(0, 80, (200, 2))
    boxes = np.concatenate([corners, RANDOM.uniform(5, 40, (200, 2))], 1)
    scores = RANDOM.uniform(0, 1, 200).astype(np.float32)
    expected = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.2, 0.6, eta, top_k)
    np.testing.assert_array_equal(dnn.NMSBoxes(boxes, scores, 0.2, 0.6, eta, top_k), expected)


def test_no_box_is_kept_of_none():
    assert len(dnn.NMSBoxes([], [], 0.5, 0.4)) == 0
    assert len(dnn.NMSBoxes([[0, 0, 1, 1]], [0.5], 0.5, 0.4)) == 0
    with pytest.raises(DataError, match="found 1 boxes and 2 scores"):
        dnn.NMSBoxes([[0, 0, 1, 1]], [0.5, 1], 0.5, 0.4)


@each("size", [(7, 5), (48, 27)])
def test_images_of_16_bits_are_rounded(size):
    image = COLOUR.astype(np.uint16) * 200
    np.testing.assert_allclose(dnn.blobFromImage(image, size=size), cv2.dnn.blobFromImage(image, size=size), atol=1)
