"""Whole nets: rules, splits, shapes, blobs, gradients and weights by name, as in real Caffe."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import load_weights
from demitasse.errors import WeightsError
from tests.golden.layer_case import Recorder, check, gradient


@pytest.fixture
def nets(shared):
    return shared / "golden" / "nets"


def structure(net: Net) -> dict:
    """Returns what Caffe's records of a net hold."""
    return {
        "layers": [[layer.name, layer.type] for layer in net.spec.layer],
        "blobs": {name: list(shape) for name, shape in net.shapes.items()},
        "outputs": net.outputs,
        "params": {
            name: [list(blob.shape) for blob in layer.blobs()]
            for name, layer in net.named_layers().items()
            if layer.blobs()
        },
        "bottom_names": {layer.name: list(layer.bottom) for layer in net.spec.layer},
        "top_names": {layer.name: list(layer.top) for layer in net.spec.layer},
    }


def arrays_under(arrays, prefix):
    return {key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)}


def check_run(net, recorder, arrays, atol):
    """Compares blobs, then (after a backward pass) gradients and blobs changed by the pass."""
    for name, expected in arrays_under(arrays, "blob/").items():
        check(f"blob {name}", recorder.blobs[name], expected, atol)
    diffs = arrays_under(arrays, "param_diff/")
    if not diffs:
        return
    net.loss(recorder.blobs).backward()
    for name, expected in arrays_under(arrays, "blob_diff/").items():
        if name not in net.losses:  # there Caffe keeps the loss weight
            check(f"blob_diff {name}", recorder.gradient(name), expected, atol)
    for kind, found in (("param_diff/", gradient), ("param_after/", lambda blob: blob)):
        for key, expected in arrays_under(arrays, kind).items():
            layer, index = key.rsplit("/", 1)
            check(kind + key, found(net.layer(layer).blobs()[int(index)]), expected, atol)


@pytest.mark.parametrize(
    ("name", "phase"),
    [("lenet", "test"), ("lenet", "train"), ("resnet", "test"), ("resnet", "train"), ("inception", "test")],
)
def test_whole_net(nets, name, phase):
    folder = nets / name
    net = Net.from_file(folder / "net.prototxt", schema.TRAIN if phase == "train" else schema.TEST)
    load_weights(net, folder / "net.caffemodel")
    info = json.loads((folder / "info.json").read_text())
    found = structure(net)
    if phase == "test":
        assert {key: found[key] for key in ("layers", "blobs", "outputs", "params")} == {
            key: info[key] for key in ("layers", "blobs", "outputs", "params")
        }
        assert list(net.inputs) == info["inputs"]
    else:
        assert found["layers"] == info["train_layers"]
        assert found["outputs"] == info["train_outputs"]
    arrays = dict(np.load(folder / f"{phase}_phase.npz"))
    fed = arrays if "blob/data" in arrays else dict(np.load(folder / "test_phase.npz"))
    recorder = Recorder(net)
    recorder.run({blob: fed[f"blob/{blob}"] for blob in net.inputs})
    check_run(net, recorder, arrays, 5e-5)


@pytest.mark.parametrize("index", range(8))
def test_rules(nets, index):
    state = json.loads((nets / "rules/states.json").read_text())[index]
    phase = schema.TRAIN if state["phase"] == "TRAIN" else schema.TEST
    net = Net.from_file(nets / "rules/net.prototxt", phase, state["level"], state["stages"])
    found = structure(net)
    assert {key: found[key] for key in found if key in state} == {key: state[key] for key in found}
    arrays = dict(np.load(nets / "rules/states.npz"))
    for name in found["params"]:
        net.load_blobs(name, list(arrays_under(arrays, f"param/{name}/").values()))
    recorder = Recorder(net)
    recorder.run(arrays_under(arrays, "input/"))
    check_run(net, recorder, arrays_under(arrays, f"state{index}/"), 1e-5)


def test_load_by_name(nets):
    expected = json.loads((nets / "load_by_name/expect.json").read_text())
    torch.manual_seed(0)
    net = Net.from_file(nets / "load_by_name/net.prototxt")
    before = {name: net.layer(name).blobs()[0].clone() for name in expected["left_untouched"]}
    path = nets / "load_by_name" / expected["weights"]
    assert load_weights(net, path) == expected["loaded_from_file"]
    recorded = {layer.name: layer.blobs for layer in read_model(path)}
    for name in expected["loaded_from_file"]:
        for blob, array in zip(net.layer(name).blobs(), recorded[name], strict=True):
            assert np.array_equal(blob.detach().numpy(), array)
    for name, blob in before.items():
        assert torch.equal(net.layer(name).blobs()[0], blob)


def test_a_matched_layer_of_another_shape_is_an_error(nets):
    text = (nets / "load_by_name/net.prototxt").read_text().replace("num_output: 8", "num_output: 9")
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    with pytest.raises(
        WeightsError, match=r"blob 0 \(weight\) of layer 'conv1' has shape \[8, 1, 5, 5\].*\[9, 1, 5, 5\]"
    ):
        load_weights(net, nets / "lenet/net.caffemodel")
