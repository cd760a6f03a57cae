"""The interface of a net, held against OpenCV 4's."""

from __future__ import annotations

import numpy as np
import pytest

import demitasse
from demitasse import dnn
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.errors import NetError, PrototxtError, UnknownNameError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

TEXT = """
name: "small" input: "data" input_shape { dim: 1 dim: 3 dim: 9 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "wide" type: "Convolution" bottom: "conv" top: "wide"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "Normalize" bottom: "conv" top: "n"
  norm_param { across_spatial: false channel_shared: false } }
layer { name: "pool" type: "Pooling" bottom: "n" top: "p" pooling_param { pool: AVE global_pooling: true } }
"""
DATA = np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.prototxt").write_text(TEXT)
    save_weights(Net(prototxt.parse(TEXT, schema.NetParameter(), "net")), tmp_path / "net.caffemodel")
    return tmp_path / "net.prototxt", tmp_path / "net.caffemodel"


@pytest.fixture
def nets(files):
    return dnn.readNetFromCaffe(*files), cv2.dnn.readNetFromCaffe(*map(str, files))


def test_layers_have_the_same_names_and_numbers(nets):
    ours, theirs = nets
    assert ours.getLayerNames() == tuple(theirs.getLayerNames())
    assert ours.getUnconnectedOutLayersNames() == tuple(theirs.getUnconnectedOutLayersNames())
    assert ours.getUnconnectedOutLayers().tolist() == theirs.getUnconnectedOutLayers().tolist()
    assert [ours.getLayerId(name) for name in ("conv", "pool", "none")] == [1, 5, -1]
    assert not ours.empty()


@pytest.mark.parametrize("shape", [(1, 3, 9, 8), (3, 3, 9, 8), (2, 3, 12, 5)])
def test_outputs_are_the_same_for_inputs_of_any_shape(nets, shape):
    data = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    for net in nets:
        net.setInput(data)
    ours, theirs = nets
    names = list(theirs.getLayerNames())
    for name, found, expected in zip(names, ours.forward(names), theirs.forward(names), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(ours.forward(), theirs.forward(), atol=1e-5)
    np.testing.assert_allclose(ours.forward("relu"), theirs.forward("relu"), atol=1e-5)
    assert (ours.forward("conv") < 0).any()
    assert np.array_equal(ours.forward("n"), ours.forward("norm"))  # a blob by its name


def test_an_input_may_be_scaled(nets):
    for net in nets:
        net.setInput(DATA, "data", 0.5, (1, 2, 3))
    np.testing.assert_allclose(nets[0].forward(), nets[1].forward(), atol=1e-5)


def test_texts_and_weights_may_be_bytes(files):
    buffers = [np.frombuffer(path.read_bytes(), np.uint8) for path in files]
    found = []
    for net in (dnn.readNetFromCaffe(*files), dnn.readNetFromCaffe(files[0].read_bytes(), files[1].read_bytes()),
                dnn.readNetFromCaffe(*buffers)):  # fmt: skip
        net.setInput(DATA)
        found.append(net.forward())
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_a_packed_file_is_a_net(files, tmp_path):
    demitasse.pack(files[1], tmp_path / "net.demi", net=files[0], definition=True)
    packed, plain = dnn.readNetFromCaffe(tmp_path / "net.demi"), dnn.readNetFromCaffe(*files)
    for net in (packed, plain):
        net.setInput(DATA)
    np.testing.assert_allclose(packed.forward(), plain.forward(), atol=1e-6)


def test_times_are_those_of_the_layers(nets):
    net = nets[0]
    assert net.getPerfProfile()[0] == 0
    net.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(dnn.DNN_TARGET_CPU)
    net.setInput(DATA)
    net.forward()
    total, times = net.getPerfProfile()
    assert total > 0
    assert times.shape == (5, 1)
    assert (times > 0).all()


def test_wrong_use_is_told(files, tmp_path):
    net = dnn.readNetFromCaffe(*files)
    with pytest.raises(UsageError, match="input 'data' is not set"):
        net.forward()
    with pytest.raises(UnknownNameError, match="the net has no input 'dat'; did you mean 'data'"):
        net.setInput(DATA, "dat")
    net.setInput(DATA)
    with pytest.raises(UnknownNameError, match="the net has no layer 'convv'; did you mean 'conv'"):
        net.forward("convv")
    net.setInput(DATA[:, :2])
    with pytest.raises(NetError, match=r"layer .conv.: the inputs need a weight of shape"):
        net.forward()
    with pytest.raises(PrototxtError, match="prototxt: not a text"):
        dnn.readNetFromCaffe(b"\xff")
    with pytest.raises(PrototxtError, match="cannot be read"):
        dnn.readNetFromCaffe(tmp_path / "none.prototxt")
