"""The interface of a net, held against OpenCV 4's."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

import demitasse
from demitasse import dnn
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.errors import DataError, NetError, PrototxtError, UnknownNameError, UsageError, WeightsError

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


def test_a_net_is_read_whatever_the_order_of_its_files(files):
    buffers = [np.frombuffer(path.read_bytes(), np.uint8) for path in files]
    names = ("conv", "relu", "wide", "norm", "pool")
    for net in (
        dnn.readNet(*files), dnn.readNet(*reversed(files)), dnn.readNet("caffe", *reversed(buffers)),
        dnn.readNet(model=str(files[1]), config=str(files[0]), framework="Caffe"),
        dnn.readNetFromCaffe(bufferProto=buffers[0], bufferModel=bytearray(buffers[1])),
        dnn.readNetFromCaffe(str(files[0]), ""),
    ):  # fmt: skip
        assert net.getLayerNames() == names


def test_what_is_not_here_is_that_of_opencv(monkeypatch):
    monkeypatch.setattr(cv2, "dnn", dnn)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        ),
        opset_imports=[helper.make_opsetid("", 12)],
    )
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.setInput(np.array([[-1, 2]], np.float32))
    assert net.forward().tolist() == [[0, 2]]
    with pytest.raises(AttributeError, match=r"neither demitasse.dnn nor OpenCV's cv2.dnn has 'readNetFromPaper'"):
        _ = dnn.readNetFromPaper
    monkeypatch.setitem(sys.modules, "cv2.dnn", None)
    with pytest.raises(AttributeError, match=r"has no 'readNetFromONNX'; .* pip install opencv-python-headless"):
        _ = dnn.readNetFromONNX
    assert not hasattr(dnn, "readNetFromONNX")


def test_blobs_of_layers_are_changed(nets):
    found = []
    nets[0].setInput(DATA)
    nets[0].forward()  # cv2 takes no other blobs afterwards
    for net in nets:
        net.setInput(DATA)
        layer = net.getLayer(net.getLayerId("conv"))
        assert (layer.name, layer.type) == ("conv", "Convolution")
        net.setParam("wide", 1, np.array([[1, 2]], np.float32))
        layer.blobs = [layer.blobs[0] * 2]  # and no bias
        found.append((net.forward("conv"), net.forward("wide"), net.getParam("wide", 1).ravel()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    net = nets[0]
    net.setInput(np.concatenate([DATA, DATA]))
    np.testing.assert_allclose(net.forward("wide")[1:], found[0][1], atol=1e-5)
    assert net.getLayerTypes() == ("Convolution", "Normalize", "Pooling", "ReLU")
    assert net.getLayersCount("Convolution") == 2
    layer = net.getLayer("conv")
    with pytest.raises(WeightsError, match=r"layer 'conv': found blobs of \[3\] entries; expected \[108, 4\]"):
        layer.blobs = [np.zeros(3)]
    with pytest.raises(UnknownNameError, match=r"the net has no layer 'convv'; did you mean 'conv'"):
        net.getLayer("convv")
    with pytest.raises(UnknownNameError, match=r"the net has no layer 9; known"):
        net.getLayer(9)
    with pytest.raises(UnknownNameError, match=r"layer 'conv' has 2 blobs; found the number 2"):
        net.getParam("conv", 2)


def test_a_net_that_ends_in_silence(tmp_path):
    """Such as that of colorization, whose scripts set the blobs of two layers."""
    text = (
        TEXT
        + """layer { name: "rh" type: "Scale" bottom: "p" top: "rh" scale_param { filler { value: 2.606 } } }
        layer { name: "ab" type: "Convolution" bottom: "rh" top: "ab"
          convolution_param { num_output: 2 kernel_size: 1 } }
        layer { name: "Silence" type: "Silence" bottom: "ab" }"""
    )
    (tmp_path / "net.prototxt").write_text(text)
    save_weights(Net(prototxt.parse(text, schema.NetParameter(), "net")), tmp_path / "net.caffemodel")
    found = []
    for library in (dnn, cv2.dnn):
        net = library.readNetFromCaffe(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
        net.getLayer(net.getLayerId("ab")).blobs = [np.arange(8, dtype=np.float32).reshape(2, 4, 1, 1)]
        net.getLayer(net.getLayerId("rh")).blobs = [np.full([1, 4], 1.5, np.float32)]
        net.setInput(DATA)
        found.append((net.forward(), net.getLayerNames()[-1], list(net.getUnconnectedOutLayersNames())))
    assert found[0][1:] == found[1][1:]
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)


@pytest.mark.parametrize("names", [None, "", [], ["pool"], ("conv", "pool"), np.array(["wide"])], ids=repr)
def test_outputs_have_the_form_of_what_was_asked(nets, names):
    found = []
    for net in nets:
        net.setInputsNames(["image"])
        net.setInput(DATA, "image")
        found.append(net.forward() if names is None else net.forward(names))
    assert isinstance(found[0], np.ndarray) == isinstance(found[1], np.ndarray)
    ours, theirs = ([each] if isinstance(each, np.ndarray) else each for each in found)
    for mine, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5)
    assert len(nets[0].forward(outBlobNames=["conv", "pool"])) == 2


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float16, np.float64])
def test_inputs_of_any_type_of_number(nets, kind):
    image = np.asfortranarray((DATA * 20 + 100).clip(0, 255).astype(kind))[..., ::-1]
    for net in nets:
        net.setInput(image if kind != np.float16 else image.astype(np.float32))
    nets[0].setInput(image)
    np.testing.assert_allclose(nets[0].forward(), nets[1].forward(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("blob", [None, "image", [None], np.array([1j])], ids=repr)
def test_an_input_that_is_no_array_of_numbers(nets, blob):
    with pytest.raises(DataError, match=r"input 'data': found .*; expected an array of numbers"):
        nets[0].setInput(blob)


@pytest.mark.parametrize("given", [None, 3, np.zeros(4, np.float32)], ids=repr)
def test_a_definition_that_is_neither_a_path_nor_bytes(given):
    with pytest.raises(UsageError, match=r"prototxt is .*; expected a path, bytes, or an array of uint8"):
        dnn.readNetFromCaffe(given)


def test_wrong_use_is_told(files, tmp_path):
    net = dnn.readNetFromCaffe(*files)
    with pytest.raises(UsageError, match=r"input 'data' is not set"):
        net.forward()
    with pytest.raises(UnknownNameError, match=r"the net has no input 'dat'; did you mean 'data'"):
        net.setInput(DATA, "dat")
    net.setInput(DATA)
    with pytest.raises(UnknownNameError, match=r"the net has no layer 'convv'; did you mean 'conv'"):
        net.forward("convv")
    with pytest.raises(UsageError, match=r"outputName is 3; expected a name"):
        net.forward(3)
    net.setInput(DATA[:, :2])
    with pytest.raises(NetError, match=r"layer .conv.: the inputs need a weight of shape"):
        net.forward()
    with pytest.raises(PrototxtError, match=r"prototxt: not a text"):
        dnn.readNetFromCaffe(b"\xff")
    with pytest.raises(PrototxtError, match="cannot be read"):
        dnn.readNetFromCaffe(tmp_path / "none.prototxt")


DIGITS = """input: "x" input_shape { dim: 1 dim: 3 }
layer { name: "data" type: "Data" top: "scaled" top: "label" data_param { source: "none" } include { stage: "train" } }
layer { name: "scale" type: "Power" bottom: "x" top: "scaled" power_param { scale: 2 } include { stage: "deploy" } }
layer { name: "loss" type: "EuclideanLoss" bottom: "scaled" bottom: "label" exclude { stage: "deploy" } }
"""


def test_a_net_of_digits_is_read_for_a_stage() -> None:
    net = dnn.readNetFromCaffe(DIGITS.encode(), stages=["deploy"])
    for rows in (1, 4):  # in another shape, the net is built again
        net.setInput(np.ones((rows, 3), np.float32))
        assert net.forward().tolist() == [[2, 2, 2]] * rows
