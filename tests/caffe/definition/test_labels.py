"""Layers of equal names, and without one: they are built, and told apart wherever a name is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import pycaffe
from demitasse.caffe import schema
from demitasse.caffe.definition import labels
from demitasse.caffe.models.caffemodel import read_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.timing import LayerTimes
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.training.solver import Solver
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.formats import pack, unpack
from demitasse.packed.file import File
from demitasse.pycaffe.net_boxes import boxes
from demitasse.runtime import optimize

# two layers of one name with weights, a third with none, a data layer of that name, and two layers without a name
NET = """
layer { name: "ip" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "Sigmoid" bottom: "data" top: "squashed" }
layer { name: "ip" type: "InnerProduct" bottom: "squashed" top: "a"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "a" top: "b"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 } } }
layer { type: "InnerProduct" bottom: "b" top: "c"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
layer { type: "ReLU" bottom: "c" top: "c" }
"""
TRAIN = (
    NET.replace("Input", "DummyData").replace(
        "input_param { shape { dim: 2 dim: 3 } }",
        'dummy_data_param { shape { dim: 2 dim: 3 } data_filler { type: "gaussian" } }',
    )
    + """
layer { name: "loss" type: "DummyData" top: "target" dummy_data_param { shape { dim: 2 dim: 4 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "target" }
layer { name: "loss" type: "EuclideanLoss" bottom: "c" bottom: "target" loss_weight: 0.5 }
"""
)


def build(text: str = NET, phase: int = schema.TEST) -> Net:
    return Net(prototxt.parse(text, schema.NetParameter(), "net"), phase)


def weights(net: Net) -> list[np.ndarray]:
    return [blob.detach().numpy() for layer in net.named_layers().values() for blob in layer.blobs()]


def test_labels_are_names_where_those_differ() -> None:
    assert labels.distinct_labels(["a", "b", "c"], [True, False, True]) == ["a", "b", "c"]


def test_layers_with_blobs_are_counted_first() -> None:
    assert labels.distinct_labels(["a", "a", "a", "", ""], [False, True, True, False, True]) == [
        "a#3",
        "a",
        "a#2",
        "#2",
        "#1",
    ]


def test_a_label_is_no_other_layers_name() -> None:
    assert labels.distinct_labels(["a", "a", "a#2"], [True, True, True]) == ["a", "a#2", "a#2#2"]


def test_layers_of_equal_names_compute() -> None:
    torch.manual_seed(0)
    net = build()
    assert net.labels == ["ip#3", "ip#4", "ip", "ip#2", "#1", "#2"]
    data = torch.randn(2, 3)
    squashed = torch.sigmoid(data)
    expected = squashed
    for weight in weights(net)[::2]:
        expected = expected @ torch.from_numpy(weight).T
    torch.testing.assert_close(net({"data": data})["c"], expected.relu())
    torch.testing.assert_close(optimize(net)({"data": data})["c"], expected.relu())


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize("target", [NET, TRAIN])
def test_weights_go_to_the_layers_of_a_name_in_order(tmp_path: Path, hdf5: bool, target: str) -> None:
    torch.manual_seed(0)
    net, other = build(), build(target)
    save_weights(net, tmp_path / "model", hdf5)
    assert {"ip", "ip#2", "#1"} <= set(load_weights(other, tmp_path / "model"))
    for mine, theirs in zip(weights(net), weights(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_caffemodel_has_the_names_of_the_net(tmp_path: Path) -> None:
    save_weights(build(), tmp_path / "model")
    assert [layer.name for layer in read_net_message(tmp_path / "model").layer] == [*["ip"] * 4, "", ""]


@pytest.mark.parametrize("kind", ["BINARYPROTO", "HDF5"])
def test_training_goes_on_from_a_snapshot(tmp_path: Path, kind: str) -> None:
    (tmp_path / "net").write_text(TRAIN)
    text = f"""net: "{tmp_path / "net"}" base_lr: 0.01 solver_mode: CPU momentum: 0.9 lr_policy: "fixed" random_seed: 1
      snapshot_format: {kind} snapshot_prefix: "{tmp_path / "snap"}" test_iter: 1 test_interval: 2"""
    param = prototxt.parse(text, schema.SolverParameter(), "solver")
    whole = Solver(param)
    whole.step(4)
    first = Solver(param)
    first.step(2)
    snapshot = first.snapshot()
    second = Solver(param)
    second.restore(snapshot)
    second.step(2)
    assert list(whole.net.losses.values()) == [1.0, 0.5]
    for mine, theirs, tested in zip(*map(weights, (whole.net, second.net, second.test_nets[0])), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(theirs, tested)


def test_times_are_taken_layer_by_layer() -> None:
    times = LayerTimes(build(TRAIN, schema.TRAIN), torch.device("cpu"))
    times.run()
    assert len(times.forward) == len(times.backward) == 11


def test_a_packed_file_keeps_layers_of_equal_names_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (tmp_path / "net.prototxt").write_text(NET)
    save_weights(build(), tmp_path / "a.caffemodel")
    pack(tmp_path / "a.caffemodel", tmp_path / "a.demi", net=tmp_path / "net.prototxt", definition=True, reorder=True)
    with File(tmp_path / "a.demi") as packed:
        assert {"ip.0", "ip#2.0", "#1.0"} <= {entry.name for entry in packed.header.entries}
    unpack(tmp_path / "a.demi", tmp_path / "b.caffemodel")
    mine, theirs = (read_net_message(tmp_path / f"{name}.caffemodel").layer for name in "ab")
    assert [layer.name for layer in mine] == [layer.name for layer in theirs]
    assert [list(layer.blobs) for layer in mine] == [list(layer.blobs) for layer in theirs]


def test_conversions_go_by_name_and_order(tmp_path: Path) -> None:
    for name, method in (("source", "DNS"), ("target", "")):
        (tmp_path / name).write_text(NET.replace('"InnerProduct"', f'"{method}InnerProduct"'))
    source = Net.from_file(tmp_path / "source")
    source.layer("ip#2").weight_mask[0] = False
    save_weights(source, tmp_path / "model")
    dns_to_normal(tmp_path / "source", tmp_path / "model", tmp_path / "target", tmp_path / "out")
    found = Net.from_file(tmp_path / "target")
    load_weights(found, tmp_path / "out")
    assert torch.equal(found.layer("ip").weight, source.layer("ip").weight)
    assert torch.equal(found.layer("ip#2").weight, source.layer("ip#2").weight * source.layer("ip#2").weight_mask)


def test_dictionaries_of_pycaffe_have_the_last_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "net").write_text(NET)
    net = pycaffe.Net(str(tmp_path / "net"), pycaffe.TEST)
    assert net._layer_names == ["ip", "ip", "ip", "ip", "", ""]
    assert len(net.layers) == 6
    assert list(net.layer_dict) == list(net.top_names) == ["ip", ""]
    assert net.layer_dict["ip"] is net.layers[3]
    assert net.params["ip"] is net.layers[3].blobs
    assert net.params[""] is net.layers[4].blobs
    assert net.top_names["ip"] == ["b"]
    assert [net._top_ids(index) for index in range(6)] == [[0], [1], [2], [3], [4], [4]]
    data = np.ones((2, 3), np.float32)
    assert net.forward(data=data)["c"].shape == (2, 4)
    assert len(net._param_blobs()) == 6


def test_a_picture_has_a_box_for_each_layer(tmp_path: Path) -> None:
    found, edges = boxes(list(build().spec.layer))
    assert len(found) == 5
    assert len(edges) == 4
