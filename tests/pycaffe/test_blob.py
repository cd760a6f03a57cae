"""Blobs: arrays that are the net's own memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from demitasse.caffe.blob import Blob, BlobVec
from demitasse.errors import NetError

CPU = torch.device("cpu")


def test_arrays_are_float32_in_c_order_and_writable():
    blob = Blob(2, 3)
    blob.put(torch.arange(6, dtype=torch.float64).reshape(3, 2).T)
    for array in (blob.data, blob.diff):
        assert (array.dtype, array.shape) == (np.float32, (2, 3))
        assert array.flags.c_contiguous
        assert array.flags.writeable
    assert blob.data.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_an_array_stays_the_memory_while_values_change():
    blob = Blob(2)
    before = blob.data
    blob.put(torch.tensor([1.0, 2.0]))
    assert before.tolist() == [1, 2]
    before[0] = 7
    assert blob.values.tensor(CPU).tolist() == [7, 2]
    assert np.shares_memory(before, blob.data)


def test_values_that_nobody_looks_at_are_not_copied():
    blob, values = Blob(2), torch.tensor([1.0, 2.0])
    blob.put(values)
    assert blob.values.tensor(CPU).data_ptr() == values.data_ptr()
    blob.data[0] = 9
    assert values.tolist() == [1, 2]


def test_legacy_axes():
    blob = Blob(2, 3)
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 1, 1, 6)
    with pytest.raises(NetError, match=r"the blob has shape \[1, 1, 1, 1, 2\]; .* need at most four axes"):
        _ = Blob(1, 1, 1, 1, 2).num


def test_reshape_keeps_what_fits():
    blob = Blob(2, 3)
    array = blob.data
    array[...] = [[1, 2, 3], [4, 5, 6]]
    blob.reshape(3, 2)
    assert np.shares_memory(array, blob.data)
    assert blob.data.tolist() == [[1, 2], [3, 4], [5, 6]]
    blob.reshape(1, 4)
    assert blob.data.tolist() == [[1, 2, 3, 4]]
    blob.reshape(5)
    assert blob.data.tolist() == [1, 2, 3, 4, 0]
    assert blob.diff.shape == (5,)
    blob.reshape()
    assert blob.data.shape == ()
    with pytest.raises(NetError, match=r"cannot have the shape \[-1, 2\]"):
        blob.reshape(-1, 2)


@pytest.fixture
def layer() -> nn.Module:
    layer = nn.Linear(3, 2)
    layer.register_buffer("mask", torch.tensor([True, False]))
    return layer


def test_a_layers_blob_is_its_tensor(layer: nn.Module):
    blob = Blob.of_layer(layer, "weight")
    blob.data[...] = 4
    blob.diff[0] = 5
    assert layer.weight.tolist() == [[4] * 3] * 2
    assert layer.weight.grad.tolist() == [[5] * 3, [0] * 3]
    layer.weight = nn.Parameter(torch.ones(2, 3))
    assert blob.data.tolist() == [[1] * 3] * 2
    with pytest.raises(NetError, match=r"'weight' of a layer has shape \[2, 3\]"):
        blob.reshape(3, 2)


def test_a_mask_shows_floats_and_takes_them_over(layer: nn.Module):
    blob = Blob.of_layer(layer, "mask")
    assert blob.data.tolist() == [1, 0]
    blob.data[1] = 1
    assert blob.data.tolist() == [1, 1]
    blob.data[0] = 0
    blob.sync()
    assert layer.mask.tolist() == [False, True]
    blob.diff[0] = 3
    assert blob.diff.tolist() == [3, 0]


def test_blobs_are_added_to_a_vector():
    blobs = BlobVec()
    blobs.add_blob(2, 3)
    blobs.add_blob()
    assert [blob.shape for blob in blobs] == [(2, 3), ()]
