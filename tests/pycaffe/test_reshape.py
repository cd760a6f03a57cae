"""Blobs of another size: batches, larger images, and layers that have to look again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import pycaffe as caffe
from demitasse.errors import NetError
from tests.contract.test_layers import EXAMPLES, run
from tests.pycaffe.nets import build, input_layer

CONVOLUTIONAL = """force_backward: true
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" } } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { filler { value: 2 } } }
layer { name: "slice" type: "Slice" bottom: "conv" top: "a" top: "b" slice_param { axis: 0 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
"""
IP = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""


@pytest.fixture
def net(tmp_path: Path) -> caffe.Net:
    return build(tmp_path, input_layer("data", 2, 1, 5, 5) + CONVOLUTIONAL, caffe.TEST)


def shapes(net: caffe.Net) -> dict[str, tuple[int, ...]]:
    return {name: blob.shape for name, blob in net.blobs.items()}


SIX = {"data": (6, 1, 9, 8), "conv": (6, 2, 7, 6), "a": (3, 2, 7, 6), "b": (3, 2, 7, 6), "sum": (3, 2, 7, 6)}


def test_reshape_gives_all_blobs_their_shapes(net: caffe.Net):
    net.blobs["data"].reshape(6, 1, 9, 8)
    net.reshape()
    assert shapes(net) == SIX
    assert net.blobs["conv"].data.shape == net.blobs["conv"].diff.shape == (6, 2, 7, 6)
    net.blobs["data"].reshape(2, 1, 5, 5)
    net.reshape()
    assert shapes(net)["sum"] == (1, 2, 3, 3)


def test_forward_reshapes_by_itself(net: caffe.Net):
    weight = net.params["conv"][0].data
    net.forward()
    before = weight.copy()
    net.blobs["data"].reshape(6, 1, 9, 8)
    values = np.random.default_rng(0).normal(size=(6, 1, 9, 8)).astype(np.float32)
    found = net.forward(data=values)["sum"]
    assert shapes(net) == SIX
    assert np.array_equal(weight, before)
    both = 2 * torch.nn.functional.conv2d(torch.from_numpy(values), torch.from_numpy(weight)).numpy()
    np.testing.assert_allclose(found, both[:3] + both[3:], rtol=1e-4, atol=1e-5)
    net.backward(sum=np.ones((3, 2, 7, 6)))
    assert net.blobs["data"].diff.shape == (6, 1, 9, 8)
    assert net.blobs["data"].diff.any()


def test_a_size_that_does_not_fit_names_the_layer(tmp_path: Path, net: caffe.Net):
    net.blobs["data"].reshape(3, 1, 5, 5)
    with pytest.raises(NetError, match=r"layer 'slice': 3 entries of axis 0 cannot be cut into 2"):
        net.forward()
    full = build(tmp_path, input_layer("data", 2, 3) + IP)
    full.blobs["data"].reshape(2, 4)
    for call in (full.reshape, full.forward):
        with pytest.raises(NetError, match=r"layer 'ip': blob 'weight' has shape \[2, 3\], but .* require \[2, 4\]"):
            call()
    full.blobs["data"].reshape(7, 3)
    assert full.forward()["ip"].shape == (7, 2)


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_layer_may_be_set_up_again(example):
    layer = example.net().layer("l")
    expected = run(example.net().layer("l"), example.bottoms())
    names, blobs = list(layer.blob_names), layer.blobs()
    layer.setup(*example.shapes)
    assert layer.blob_names == names
    assert all(ours is theirs for ours, theirs in zip(layer.blobs(), blobs, strict=True))
    for ours, theirs in zip(run(layer, example.bottoms()), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
