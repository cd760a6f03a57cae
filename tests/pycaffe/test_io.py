from __future__ import annotations

import numpy as np
import pytest

from demitasse import pycaffe as caffe
from demitasse.pycaffe.proto import caffe_pb2


def test_blobs_there_and_back() -> None:
    values, diff = np.arange(6.0).reshape(1, 2, 3), np.ones((1, 2, 3))
    blob = caffe.io.array_to_blobproto(values, diff)
    assert np.array_equal(caffe.io.blobproto_to_array(blob), values)
    assert np.array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), diff)


def test_shapes_of_old_files() -> None:
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=2, data=[1, 2, 3, 4])
    assert caffe.io.blobproto_to_array(blob).shape == (1, 2, 1, 2)


def test_doubles() -> None:
    blob = caffe_pb2.BlobProto(double_data=[1e-300, 2], shape=caffe_pb2.BlobShape(dim=[2]))
    assert caffe.io.blobproto_to_array(blob).tolist() == [1e-300, 2]


def test_a_scalar_needs_no_shape() -> None:
    assert caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=[123])) == 123


@pytest.mark.parametrize(
    "shape",
    [{}, {"num": 2}, {"shape": caffe_pb2.BlobShape(dim=[-2, -2])}, {"shape": caffe_pb2.BlobShape(dim=[1 << 40, 9])}],
)
def test_numbers_that_do_not_fill_the_shape(shape) -> None:
    with pytest.raises(ValueError, match=r"BlobProto.data: found 4 numbers for shape"):
        caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=[0] * 4, **shape))


def test_lists_of_blobs() -> None:
    arrays = [np.array([1.0, 2.0]), np.zeros((2, 0, 3)), np.array(5.0)]
    text = caffe.io.arraylist_to_blobprotovector_str(arrays)
    assert caffe.io.arraylist_to_blobprotovecor_str is caffe.io.arraylist_to_blobprotovector_str
    for found, array in zip(caffe.io.blobprotovector_str_to_arraylist(text), arrays, strict=True):
        assert np.array_equal(found, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_datum(dtype) -> None:
    image = (np.arange(24).reshape(2, 3, 4) * 5).astype(dtype)
    datum = caffe.io.array_to_datum(image, label=3)
    assert (datum.channels, datum.height, datum.width, datum.label) == (2, 3, 4, 3)
    found = caffe.io.datum_to_array(datum)
    assert np.array_equal(found, image)
    assert found.dtype == (np.uint8 if dtype is np.uint8 else np.float64)
    without = caffe.io.array_to_datum(image)
    assert not without.HasField("label")
    assert len(without.SerializeToString()) < len(datum.SerializeToString())


def test_datum_errors() -> None:
    with pytest.raises(ValueError, match="three axes"):
        caffe.io.array_to_datum(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="Datum: found 3 numbers for shape"):
        caffe.io.datum_to_array(caffe_pb2.Datum(channels=1, height=2, width=2, data=b"abc"))
    with pytest.raises(ValueError, match="an image file"):
        caffe.io.datum_to_array(caffe_pb2.Datum(encoded=True, data=b"abc"))
