"""Old nets, solvers and models: what Caffe made of them, and what they held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.models.caffemodel import read_model, read_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.model2inq_raw import model2inq_raw
from demitasse.caffe.tools.parse_model import parse_model
from demitasse.caffe.tools.upgrade_proto import upgrade_net_binary, upgrade_net_text, upgrade_solver_text
from demitasse.caffe.upgrade import upgrade_net, upgrade_solver
from demitasse.caffe.weights import load_weights
from demitasse.formats import pack, unpack

NETS = ["old_input_bn", "old_transform", "v0", "v0_data", "v1"]
SOLVERS = ["sgd", "nesterov", "adagrad", "adadelta"]


@pytest.fixture
def pairs(shared: Path) -> Path:
    return shared / "golden/nets/upgrade"


@pytest.mark.parametrize("name", NETS)
def test_nets(name: str, pairs: Path, tmp_path: Path) -> None:
    expected = pairs / f"{name}.upgraded.prototxt"
    assert upgrade_net(prototxt.read_net(pairs / f"{name}.prototxt")) == prototxt.read_net(expected)
    upgrade_net_text(pairs / f"{name}.prototxt", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(name: str, pairs: Path, tmp_path: Path) -> None:
    expected = pairs / f"solver_{name}.upgraded.prototxt"
    assert upgrade_solver(prototxt.read_solver(pairs / f"solver_{name}.prototxt")) == prototxt.read_solver(expected)
    upgrade_solver_text(pairs / f"solver_{name}.prototxt", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("name", NETS)
def test_what_is_up_to_date_stays_so(name: str, pairs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    upgrade_net_text(pairs / f"{name}.upgraded.prototxt", tmp_path / "out", said.append)
    assert (tmp_path / "out").read_bytes() == (pairs / f"{name}.upgraded.prototxt").read_bytes()
    assert "already had the current form" in said[0]


@pytest.fixture
def stored(shared: Path) -> dict[str, list[np.ndarray]]:
    """The blobs that the old model holds, in today's shapes."""
    arrays = np.load(shared / "golden/data/store.npz")
    return {name: [arrays[f"param/{name}/{index}"] for index in (0, 1)] for name in ("conv1", "ip_a", "ip_b")}


def test_a_model_of_v1(shared: Path, stored: dict[str, list[np.ndarray]], tmp_path: Path) -> None:
    source = shared / "golden/data/store_v1.caffemodel"
    upgrade_net_binary(source, tmp_path / "new.caffemodel")
    assert not read_net_message(tmp_path / "new.caffemodel").layers
    for path in (source, tmp_path / "new.caffemodel"):
        layers = read_model(path)
        assert [(layer.name, layer.type) for layer in layers] == [
            ("conv1", "Convolution"),
            ("ip_a", "InnerProduct"),
            ("ip_b", "InnerProduct"),
        ]
        for layer in layers:
            assert [blob.ndim for blob in layer.blobs] == [4, 4]
            for blob, expected in zip(layer.blobs, stored[layer.name], strict=True):
                assert np.array_equal(blob.reshape(expected.shape), expected)


def test_a_model_of_v1_loads(shared: Path, stored: dict[str, list[np.ndarray]]) -> None:
    net = Net.from_file(shared / "golden/data/store.prototxt")
    assert load_weights(net, shared / "golden/data/store_v1.caffemodel") == list(stored)
    for name, arrays in stored.items():
        for blob, expected in zip(net.layer(name).blobs(), arrays, strict=True):
            assert np.array_equal(blob.detach().numpy(), expected)


def test_a_model_of_v1_is_packed(shared: Path, stored: dict[str, list[np.ndarray]], tmp_path: Path) -> None:
    pack(shared / "golden/data/store_v1.caffemodel", tmp_path / "net.demi", signed_zeros=True)
    unpack(tmp_path / "net.demi", tmp_path / "net.caffemodel")
    net = Net.from_file(shared / "golden/data/store.prototxt")
    assert load_weights(net, tmp_path / "net.caffemodel") == list(stored)
    for name, arrays in stored.items():
        for blob, expected in zip(net.layer(name).blobs(), arrays, strict=True):
            assert blob.detach().numpy().tobytes() == expected.tobytes()


def test_a_model_of_v1_is_converted(shared: Path, stored: dict[str, list[np.ndarray]], tmp_path: Path) -> None:
    data = shared / "golden/data"
    text = (data / "store.prototxt").read_text()
    (tmp_path / "dns.prototxt").write_text(text.replace('"Inner', '"DNSInner').replace('"Conv', '"DNSConv'))
    (tmp_path / "inq.prototxt").write_text(text.replace('"Inner', '"INQInner').replace('"Conv', '"INQConv'))
    for name in ("dns", "inq"):
        net = (tmp_path / f"{name}.prototxt").read_text()
        portion = "inq_{}_param {{ portion: 0 portion: 0.5 }} " if name == "inq" else ""
        net = net.replace("convolution_param", portion.format("convolution") + "convolution_param")
        net = net.replace("inner_product_param", portion.format("inner_product") + "inner_product_param")
        (tmp_path / f"{name}.prototxt").write_text(net)
    model2inq_raw(
        data / "store.prototxt", data / "store_v1.caffemodel", tmp_path / "inq.prototxt", tmp_path / "inq.caffemodel"
    )
    raw = {layer.name: layer.blobs for layer in read_model(tmp_path / "inq.caffemodel")}
    for name, arrays in stored.items():
        assert np.array_equal(raw[name][0], arrays[0])
        assert (raw[name][2] == 1).all()
    dns_to_normal(
        tmp_path / "dns.prototxt",
        data / "store_v1.caffemodel",
        data / "store.prototxt",
        tmp_path / "normal.caffemodel",
        LayerRule.TYPE,
    )
    normal = {layer.name: layer.blobs for layer in read_model(tmp_path / "normal.caffemodel")}
    assert all(
        np.array_equal(normal[name][index], arrays[index]) for name, arrays in stored.items() for index in (0, 1)
    )


def test_a_model_of_v1_as_text_is_as_it_was_written(shared: Path, tmp_path: Path) -> None:
    parse_model(shared / "golden/data/store_v1.caffemodel", tmp_path / "text")
    assert "type: CONVOLUTION" in (tmp_path / "text").read_text()
    text = prototxt.read_net(tmp_path / "text")
    assert text == read_net_message(shared / "golden/data/store_v1.caffemodel")
