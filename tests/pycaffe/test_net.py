"""Nets: structure, passes, files, what scripts rely on."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from demitasse import pycaffe as caffe
from demitasse.errors import DemitasseError, NetError
from tests.pycaffe.nets import SMALL, build, input_layer

IP = """layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } } %s }
"""
RELU = 'layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }\n'
LOSS = 'layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 3 }\n'
RULES = """
layer { name: "train" type: "DummyData" top: "data" include { phase: TRAIN stage: "train" }
  dummy_data_param { shape { dim: 1 dim: 4 } } }
layer { name: "deploy" type: "Input" top: "data" include { stage: "deploy" } input_param { shape { dim: 2 dim: 4 } } }
layer { name: "low" type: "ReLU" bottom: "data" top: "low" include { max_level: 0 } }
layer { name: "high" type: "ReLU" bottom: "data" top: "high" include { min_level: 1 } }
"""


@pytest.fixture
def small(tmp_path: Path) -> caffe.Net:
    caffe.set_random_seed(1)
    net = build(tmp_path, SMALL)
    net.blobs["label"].data[...] = np.arange(5)
    return net


@pytest.fixture
def regression(tmp_path: Path) -> caffe.Net:
    net = build(tmp_path, input_layer("data", 4, 3) + input_layer("label", 4, 2) + IP % "" + RELU + LOSS)
    random = np.random.default_rng(0)
    for name in net.inputs:
        net.blobs[name].data[...] = random.normal(size=net.blobs[name].shape)
    return net


def expected(net: caffe.Net) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns input of the loss, its gradient, and the loss, of the net ``regression``."""
    weight, bias = (blob.data for blob in net.params["ip"])
    ip = np.maximum(net.blobs["data"].data @ weight.T + bias, 0)
    difference = ip - net.blobs["label"].data
    return ip, 3 * difference / 4, float((difference**2).sum() / 8)


def close(found: np.ndarray, wanted: object) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_structure(small: caffe.Net):
    assert small._layer_names == ["data", "conv", "ip", "loss"]
    assert [layer.type for layer in small.layers] == ["DummyData", "Convolution", "InnerProduct", "SoftmaxWithLoss"]
    assert list(small.layer_dict) == small._layer_names
    assert list(small.blobs) == small._blob_names == ["data", "label", "conv", "ip_blob", "loss"]
    assert small.top_names == OrderedDict(data=["data", "label"], conv=["conv"], ip=["ip_blob"], loss=["loss"])
    assert small.bottom_names == OrderedDict(data=[], conv=["data"], ip=["conv"], loss=["ip_blob", "label"])
    assert (small.inputs, small.outputs) == ([], ["loss"])
    assert (small._inputs, small._outputs) == ([], [4])
    assert (small._top_ids(0), small._bottom_ids(3)) == ([0, 1], [3, 1])
    assert list(small.params) == ["conv", "ip"]
    assert [blob.shape for blob in small.params["conv"]] == [(11, 2, 2, 2), (11,)]
    assert small.layers[1].blobs is small.params["conv"]
    assert small.blob_loss_weights == {"data": 0, "label": 0, "conv": 0, "ip_blob": 0, "loss": 1}
    assert small._blob_loss_weights == [0, 0, 0, 0, 1]


def test_splits_are_layers(tmp_path: Path):
    sigmoid = 'layer { name: "sigmoid" type: "Sigmoid" bottom: "data" top: "sigmoid" }'
    net = build(tmp_path, input_layer("data", 1, 3) + IP % "" + sigmoid)
    assert net._layer_names == ["data", "data_data_0_split", "ip", "sigmoid"]
    assert list(net.blobs)[1:3] == ["data_data_0_split_0", "data_data_0_split_1"]


def test_memory_outlives_the_net(small: caffe.Net):
    small.forward()
    blobs = [*small.blobs.values(), *(blob for blobs in small.params.values() for blob in blobs)]
    arrays = [(blob.data, blob.diff) for blob in blobs]
    del small
    assert all(np.isfinite(data).all() and np.isfinite(diff).all() for data, diff in arrays)
    assert blobs[0].data is not None


def test_constants_stay_as_they_were_written(small: caffe.Net):
    first = small.blobs["data"].data.copy()
    small.forward()
    assert small.blobs["label"].data.tolist() == [0, 1, 2, 3, 4]
    assert not np.array_equal(first, small.blobs["data"].data)


def test_forward_writes_and_returns_the_blobs(regression: caffe.Net):
    held = regression.blobs["ip"].data
    out = regression.forward(blobs=["ip"])
    ip, _, loss = expected(regression)
    assert set(out) == {"loss", "ip"}
    assert np.shares_memory(out["ip"], held)
    close(held, ip)
    close(out["loss"], loss)
    assert regression._forward(0, len(regression.layers) - 1) == pytest.approx(3 * loss, rel=1e-4)


def test_written_weights_and_inputs_are_computed_with(regression: caffe.Net):
    regression.forward()
    regression.params["ip"][0].data[...] = 2
    regression.params["ip"][1].data[0] = -1
    regression.blobs["data"].data[0] = 5
    regression.forward()
    close(regression.blobs["ip"].data, expected(regression)[0])
    assert regression.blobs["ip"].data[0].tolist() == [29, 30]


def test_backward_overwrites_blobs_and_adds_to_parameters(regression: caffe.Net):
    regression.forward()
    out = regression.backward()
    assert set(out) == {"data", "label"}
    assert not any(diff.any() for diff in out.values())  # nothing before the data learns
    ip, difference, _ = expected(regression)
    close(regression.blobs["loss"].diff, 3)
    inner = difference * (ip > 0)
    close(regression.blobs["ip"].diff, inner)
    weight = regression.params["ip"][0].diff
    close(weight, inner.T @ regression.blobs["data"].data)
    once = weight.copy()
    regression.backward()
    close(weight, 2 * once)
    close(regression.blobs["ip"].diff, inner)
    regression.clear_param_diffs()
    assert not weight.any()


def test_a_written_diff_is_what_goes_back(regression: caffe.Net):
    regression.forward()
    regression.blobs["loss"].diff[...] = 6
    regression.backward()
    ip, difference, _ = expected(regression)
    close(regression.blobs["ip"].diff, 2 * difference * (ip > 0))
    regression.backward(loss=np.float32(1))
    close(regression.blobs["ip"].diff, difference * (ip > 0) / 3)


def test_force_backward_reaches_the_data(tmp_path: Path, regression: caffe.Net):
    regression.forward()
    regression.backward()
    text = "force_backward: true\n" + (tmp_path / "net.prototxt").read_text()
    forced = build(tmp_path, text, weights=save(tmp_path, regression))
    forced.forward(**{name: regression.blobs[name].data for name in regression.inputs})
    out = forced.backward()
    _, difference, _ = expected(forced)
    close(out["data"], regression.blobs["ip"].diff @ forced.params["ip"][0].data)
    close(out["label"], -difference)


@pytest.mark.parametrize(
    ("extra", "learns"), [("param { lr_mult: 0 } param { lr_mult: 1 }", [False, True]), ("", [True] * 2)]
)
def test_what_does_not_learn_has_no_gradient(tmp_path: Path, extra: str, learns: list[bool]):
    net = build(tmp_path, input_layer("data", 4, 3) + input_layer("label", 4, 2) + IP % extra + LOSS)
    net.forward(data=np.ones((4, 3)), label=np.full((4, 2), 9))
    net.backward()
    assert [bool(blob.diff.any()) for blob in net.params["ip"]] == learns


def test_nothing_goes_back_where_there_is_no_loss(tmp_path: Path):
    net = build(tmp_path, input_layer("data", 4, 3) + IP % "", caffe.TEST)
    net.forward(data=np.ones((4, 3)))
    net.backward(ip=np.ones((4, 2)))
    assert not net.params["ip"][0].diff.any()


def test_from_a_layer_to_a_layer(small: caffe.Net):
    values = np.random.default_rng(0).normal(size=small.blobs["conv"].shape)
    small.blobs["conv"].data[...] = values
    out = small.forward(start="ip", end="ip")
    assert list(out) == ["ip_blob"]
    weight, bias = (blob.data for blob in small.params["ip"])
    np.testing.assert_allclose(out["ip_blob"], values.reshape(5, -1) @ weight.T + bias, rtol=1e-3, atol=1e-3)


def test_backward_needs_no_forward_before(small: caffe.Net):
    given = np.random.default_rng(0).normal(size=small.blobs["ip_blob"].shape)
    small.blobs["ip_blob"].diff[...] = given
    out = small.backward(start="ip", end="ip")
    assert list(out) == ["conv"]
    np.testing.assert_allclose(out["conv"].reshape(5, -1), given @ small.params["ip"][0].data, rtol=1e-3, atol=1e-3)


def test_backward_alone_changes_no_statistics(tmp_path: Path):
    norm = 'layer { name: "norm" type: "BatchNorm" bottom: "data" top: "norm" }'
    net = build(tmp_path, "force_backward: true\n" + input_layer("data", 4, 3) + norm)
    net.blobs["data"].data[...] = np.random.default_rng(0).normal(size=(4, 3))
    net.blobs["norm"].diff[0] = 1
    net.backward()
    assert net.blobs["data"].diff.any()
    assert not net.params["norm"][2].data.any()
    net.forward()
    assert net.params["norm"][2].data.tolist() == [1]


# PReLU and BatchNorm need their input again, which the blob no longer holds
@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("kind", ["ReLU", "PReLU", "BatchNorm", "Sigmoid", "Dropout"])
def test_in_place_gives_the_gradients_of_apart(tmp_path: Path, kind: str, shown: bool):
    found = []
    for top in ("ip", "other"):
        layer = f'layer {{ name: "l" type: "{kind}" bottom: "ip" top: "{top}" }}\n'
        net = build(tmp_path, "force_backward: true\n" + input_layer("data", 4, 3) + IP % "" + layer, caffe.TRAIN)
        random = np.random.default_rng(0)
        for blob in net.params["ip"]:
            blob.data[...] = random.normal(size=blob.shape)
        for _ in range(2):
            if shown:
                assert net.blobs["ip"].data.shape == (4, 2)
            caffe.set_random_seed(3)
            out = net.forward(data=random.normal(size=(4, 3)))[top]
        out_diff = np.random.default_rng(2).normal(size=(4, 2))
        found.append((out.copy(), net.backward(**{top: out_diff})["data"].copy()))
    assert found[0][1].any()
    for inside, apart in zip(*found, strict=True):
        close(inside, apart)


def test_blobs_that_pass_through_do_not_share_what_is_written(tmp_path: Path):
    drop = 'layer { name: "drop" type: "Dropout" bottom: "data" top: "drop" }'
    net = build(tmp_path, "force_backward: true\n" + input_layer("data", 2, 3) + drop, caffe.TEST)
    net.forward(data=np.ones((2, 3)))
    net.blobs["data"].data[...] = 5
    assert net.blobs["drop"].data.tolist() == [[1] * 3] * 2
    net.backward(drop=np.ones((2, 3)))
    net.blobs["drop"].diff[...] = 5
    assert net.blobs["data"].diff.tolist() == [[1] * 3] * 2


def test_callbacks(regression: caffe.Net):
    calls: list[tuple[str, int]] = []
    for when in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(regression, when)(lambda layer, when=when: calls.append((when, layer)))
    regression.forward(start="relu")
    regression.backward(end="relu")
    assert calls == [
        *((when, layer) for layer in (3, 4) for when in ("before_forward", "after_forward")),
        *((when, layer) for layer in (4, 3) for when in ("before_backward", "after_backward")),
    ]


def test_wrong_arguments(regression: caffe.Net):
    rows = np.zeros((4, 3))
    for call, arguments, message in (
        (regression.forward, {"data": rows}, r"arguments \['data'\] do not match the net's inputs \['data', 'label'\]"),
        (regression.forward, {"data": rows[:2], "label": rows[:, :2]}, "'data' has shape .*, which is not batch sized"),
        (regression.backward, {"ip": rows}, "do not match the net's outputs"),
    ):
        with pytest.raises(DemitasseError, match=message):
            call(**arguments)
    for call in (regression.forward, regression.backward):
        with pytest.raises(ValueError, match="no layer 'rellu'; did you mean 'relu'"):
            call(start="rellu")


def test_missing_files(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"Could not open file .*nowhere\.prototxt"):
        caffe.Net(str(tmp_path / "nowhere.prototxt"), caffe.TEST)
    with pytest.raises(RuntimeError, match=r"Could not open file .*nowhere\.caffemodel"):
        build(tmp_path, SMALL, weights=str(tmp_path / "nowhere.caffemodel"))


def save(folder: Path, net: caffe.Net) -> str:
    path = str(folder / "net.caffemodel")
    net.save(path)
    return path


def same_weights(one: caffe.Net, other: caffe.Net) -> bool:
    return all(
        np.array_equal(ours.data, theirs.data)
        for name in one.params
        for ours, theirs in zip(one.params[name], other.params[name], strict=True)
    )


def test_save_and_load(tmp_path: Path, small: caffe.Net):
    path, h5 = save(tmp_path, small), str(tmp_path / "weights.h5")
    small.save_hdf5(h5)
    fresh = build(tmp_path, SMALL)
    assert not same_weights(fresh, small)
    held = fresh.params["conv"][0].data
    fresh.copy_from(path)
    assert same_weights(fresh, small)
    assert np.array_equal(held, small.params["conv"][0].data)
    assert same_weights(build(tmp_path, SMALL, weights=path), small)
    assert same_weights(caffe.Net(str(tmp_path / "net.prototxt"), path, caffe.TRAIN), small)
    fresh = build(tmp_path, SMALL)
    fresh.load_hdf5(h5)
    assert same_weights(fresh, small)
    with pytest.raises(DemitasseError, match="write_diff is True, which is not supported"):
        small.save_hdf5(h5, True)


def test_weights_are_shared_live_and_gradients_apart(tmp_path: Path, small: caffe.Net):
    other = build(tmp_path, SMALL)
    other.share_with(small)
    small.params["conv"][0].data[...] = 0.5
    assert same_weights(other, small)
    small.forward()
    small.backward()
    assert not other.params["conv"][0].diff.any()


def test_phase_level_and_stages(tmp_path: Path):
    assert build(tmp_path, RULES, stages=["train"])._layer_names == ["train", "low"]
    assert build(tmp_path, RULES, caffe.TEST, stages=["deploy"], level=1)._layer_names == ["deploy", "high"]
    with pytest.raises(NetError, match="bottom 'data' does not exist"):
        build(tmp_path, RULES, caffe.TEST)


def test_any_number_of_rows(tmp_path: Path):
    net = build(tmp_path, "force_backward: true\n" + input_layer("data", 4, 3) + IP % "", caffe.TEST)
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    found = net.forward_all(data=rows, blobs=["data"])
    weight, bias = (blob.data for blob in net.params["ip"])
    close(found["ip"], rows @ weight.T + bias)
    close(found["data"], rows)
    given = np.random.default_rng(1).normal(size=(10, 2)).astype(np.float32)
    values, gradients = net.forward_backward_all(data=rows, ip=given)
    close(values["ip"], rows @ weight.T + bias)
    close(gradients["data"], given @ weight)


def test_arrays_for_memory_data(tmp_path: Path):
    memory = """layer { name: "data" type: "MemoryData" top: "data" top: "label"
      memory_data_param { batch_size: 2 channels: 1 height: 1 width: 3 } }"""
    net = build(tmp_path, memory)
    data = np.arange(12, dtype=np.float32).reshape(4, 1, 1, 3)
    net.set_input_arrays(data, np.arange(4, dtype=np.float32))
    seen = []
    for _ in range(3):
        net.forward()
        seen.append((net.blobs["data"].data.ravel().tolist(), net.blobs["label"].data.ravel().tolist()))
    assert seen == [([0, 1, 2, 3, 4, 5], [0, 1]), ([6, 7, 8, 9, 10, 11], [2, 3]), ([0, 1, 2, 3, 4, 5], [0, 1])]
    for wrong, message in ((data[:3], "a multiple of 2"), (data.astype(float), "expected C-contiguous float32")):
        with pytest.raises(RuntimeError, match=message):
            net.set_input_arrays(wrong, np.arange(len(wrong), dtype=np.float32))
    with pytest.raises(RuntimeError, match="first layer is a MemoryData"):
        build(tmp_path, SMALL).set_input_arrays(data, np.arange(4, dtype=np.float32))


def test_a_net_under_surgery_shows_its_masks(tmp_path: Path):
    net = build(tmp_path, input_layer("data", 1, 3) + (IP % "").replace("InnerProduct", "DNSInnerProduct"), caffe.TEST)
    assert [blob.shape for blob in net.params["ip"]] == [(2, 3), (2,), (2, 3), (2,)]
    net.params["ip"][0].data[...] = 1
    net.params["ip"][2].data[0] = 0
    assert net.forward(data=np.ones((1, 3)))["ip"].tolist() == [[0, 3]]


def test_copy_from_a_model_that_shares_no_layer_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    text = input_layer("data", 4, 3) + IP % ""
    other, net = build(tmp_path, text.replace('name: "ip"', 'name: "other"')), build(tmp_path, text)
    other.save(str(tmp_path / "weights"))
    before = net.params["ip"][0].data.copy()
    net.copy_from(str(tmp_path / "weights"))
    assert "no layer of this file is in the net" in caplog.text
    assert np.array_equal(net.params["ip"][0].data, before)


def test_the_top_of_a_loss_without_one_is_called_automatic(tmp_path: Path):
    loss = 'layer { name: "%s" type: "EuclideanLoss" bottom: "a" bottom: "b" loss_weight: %g }\n'
    inputs = input_layer("a", 1, 2) + input_layer("b", 1, 2)
    net = build(tmp_path, inputs + loss % ("one", 2))
    assert list(net.blobs)[-1] == net._blob_names[-1] == "(automatic)"
    assert net.top_names["one"] == ["(automatic)"]
    assert net.blob_loss_weights["(automatic)"] == 2
    values = {"a": np.float32([[1, 2]]), "b": np.float32([[0, 0]])}
    assert net.forward(end="one", **values)["(automatic)"] == 2.5
    assert net.outputs == []
    net = build(tmp_path, inputs + loss % ("one", 2) + loss % ("two", 3))
    assert [name for name in net._blob_names if name == "(automatic)"] == ["(automatic)"] * 2
    assert net._top_ids(len(net.layers) - 1) == [len(net._blob_names) - 1]
    assert net.blob_loss_weights["(automatic)"] == 3
    net.forward(**values)
    net.backward()
    assert net.blobs["(automatic)"].data == 2.5
    assert net.blobs["(automatic)"].diff == 3
