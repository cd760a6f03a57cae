"""The graphs of ONNX: their operators, their names, and nothing of this machine in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import demitasse
from demitasse.caffe import schema
from demitasse.caffe.layers.pooling import Pooling
from demitasse.errors import ExportError
from demitasse.export import export, of_net
from demitasse.export import onnx as target
from demitasse.export.onnx_forms import PaddedPool, pool
from demitasse.graph.caffe.operations import operation
from tests.export.nets import BOTTLENECK, INCEPTION, LENET, build


def graph(text: str) -> onnx.GraphProto:
    return onnx.load_from_string(target.make(of_net(build(text))).files[".onnx"]).graph


def operators(found: onnx.GraphProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in found.node))


def shape(value: onnx.ValueInfoProto) -> list[object]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


def test_operators_and_names_of_a_small_net():
    found = graph(LENET)
    assert [(node.op_type, node.name) for node in found.node] == [
        ("Conv", "conv1"), ("MaxPool", "pool1"), ("Reshape", "ip1/Reshape"), ("Gemm", "ip1"), ("Relu", "relu1"),
        ("Gemm", "ip2"), ("Softmax", "prob"),
    ]  # fmt: skip
    assert found.name == "LeNet"
    weights = {f"{layer}.{blob}" for layer in ("conv1", "ip1", "ip2") for blob in ("weight", "bias")}
    assert weights <= {value.name for value in found.initializer}
    assert [(value.name, shape(value)) for value in (*found.input, *found.output)] == [
        ("data", ["batch", 1, 28, 28]), ("prob", ["batch", 5]),
    ]  # fmt: skip
    assert [node.output[0] for node in found.node[:2]] == ["conv1", "pool1"]


def test_operators_of_an_inception_module():
    expected = {
        "Conv": 3, "Relu": 1, "LRN": 1, "MaxPool": 2, "Concat": 1, "AveragePool": 1, "Pad": 1, "Mul": 1,
        "Reshape": 1, "Gemm": 1, "Softmax": 1,
    }  # fmt: skip
    assert operators(graph(INCEPTION)) == expected


def test_operators_of_a_bottleneck():
    # a norm behind a convolution is part of it
    found = operators(graph(BOTTLENECK))
    assert found == {"Conv": 1, "Relu": 1, "BatchNormalization": 1, "Add": 1, "AveragePool": 1}


def test_names_that_only_caffe_allows():
    names = ("conv1/3x3", "relu", "a/1x1", "conv2d", "val_7", "a.b", "a_b", "x y")
    text = "".join(
        f'layer {{ name: "{name}" type: "TanH" bottom: "{before}" top: "{name}!" }}\n'
        for before, name in zip(["data", *(f"{name}!" for name in names)], names, strict=False)
    )
    found = graph(f'input: "data" input_shape {{ dim: 2 dim: 3 }} {text}')
    assert [node.name for node in found.node] == list(names)
    assert found.output[0].name == "x y!"


def test_nothing_of_this_machine_is_in_the_file(tmp_path):
    export(build(LENET), tmp_path / "net.onnx")
    content = (tmp_path / "net.onnx").read_bytes()
    for path in (Path(demitasse.__file__).parent, Path(torch.__file__).parent):
        assert str(path).encode() not in content
    model = onnx.load_from_string(content)
    assert (model.producer_name, model.opset_import[0].version) == ("demitasse", target.OPSET)


def test_any_batch_in_onnxruntime(tmp_path):
    net = build(INCEPTION)
    export(net, tmp_path / "net.onnx", check=False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for size in (1, 3, 8):
        data = torch.randn(size, 3, 12, 12)
        (found,) = session.run(["prob"], {"data": data.numpy()})
        np.testing.assert_allclose(found, net({"data": data})["prob"].detach(), rtol=1e-4, atol=1e-6)


def test_weights_beyond_what_a_file_can_hold(monkeypatch):
    monkeypatch.setattr(target, "_LARGEST", 1000)
    with pytest.raises(ExportError, match="one file of ONNX holds up to 1,000"):
        target.make(of_net(build(LENET)))


def test_poolings_that_are_padded_by_hand():
    """Of every window of small planes, padding by hand gives what the layer gives."""
    padded = 0
    for kernel, stride, pad, length in np.ndindex(4, 4, 3, 5):
        if pad > kernel:
            continue
        for method in ("MAX", "AVE"):
            layer = Pooling(schema.LayerParameter(type="Pooling", top=["top"]))
            settings = layer.spec.pooling_param
            settings.pool = settings.PoolMethod.Value(method)
            settings.kernel_h, settings.stride_h, settings.pad_h = kernel + 1, stride + 1, pad
            settings.kernel_w, settings.stride_w, settings.pad_w = 2, 2, 1
            layer.setup((1, 2, length + 4, 5))
            found = operation(layer.eval())
            form = pool(found.settings, found.weights.get("share"))
            bottom = torch.randn(1, 2, length + 4, 5)
            torch.testing.assert_close(form(bottom), layer(bottom))
            padded += isinstance(form, PaddedPool)
    assert padded > 100
