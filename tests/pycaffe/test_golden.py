"""The blobs, diffs and parameters' diffs of real Caffe: layers, whole nets, solvers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from demitasse import pycaffe as caffe
from demitasse.pycaffe import solver as pycaffe_solver
from tests.conftest import SHARED
from tests.golden import test_solvers
from tests.golden.layer_case import LAYER_CASES, Case, check, layer_cases

CASES = layer_cases()
NETS = SHARED / "golden" / "nets"
replay = test_solvers.replay  # the fixture
needs_cases = pytest.mark.skipif(not CASES, reason=f"no reference data at {LAYER_CASES}")


def fill(net: caffe.Net, arrays: dict[str, np.ndarray], what: str = "data") -> None:
    for name, array in arrays.items():
        getattr(net.blobs[name], what)[...] = array


@needs_cases
@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_layer_through_its_blobs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    case = Case.open(folder)
    net = caffe.Net(folder / "net.prototxt", getattr(caffe, case.settings["phase"]))
    for name, blobs in net.params.items():
        for blob, array in zip(blobs, case.under(f"param/{name}").values(), strict=False):
            blob.data[...] = array
    atol = 5e-5 if any(layer.type.endswith("Convolution") for layer in net.layers) else 1e-5
    for prefix in case.passes():
        fill(net, case.under(prefix, "bottom"))
        net.clear_param_diffs()
        net.forward()
        for name, expected in case.under(prefix, "top").items():
            check(f"{prefix} top {name}", net.blobs[name].data, expected, atol)
        if case.settings["backward"]:
            if case.settings["top_diff"] == "random":
                fill(net, case.under(prefix, "top_diff"), "diff")
            net.backward()
            _check_backward(case, prefix, net, atol)
        for key, expected in case.under(prefix, "param_after").items():
            layer, index = key.rsplit("/", 1)
            check(f"{prefix} after {key}", net.params[layer][int(index)].data, expected, atol)


def _check_backward(case: Case, prefix: str, net: caffe.Net, atol: float) -> None:
    in_place = {name for layer in net.top_names for name in net.top_names[layer] if name in net.bottom_names[layer]}
    # unless the net forces it, nothing goes down to its inputs: Caffe leaves other numbers in their diffs
    for kind in ("bottom_diff", "blob_diff", "top_diff")[not net.module.force_backward :]:
        for name, expected in case.under(prefix, kind).items():
            if kind != "top_diff" or name not in in_place:
                check(f"{prefix} {kind} {name}", net.blobs[name].diff, expected, atol)
    for key, expected in case.under(prefix, "param_diff").items():
        layer, index = key.rsplit("/", 1)
        check(f"{prefix} diff {key}", net.params[layer][int(index)].diff, expected, atol)


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    ("name", "phase"),
    [("lenet", "TEST"), ("lenet", "TRAIN"), ("resnet", "TEST"), ("resnet", "TRAIN"), ("inception", "TEST")],
)
def test_a_whole_net(name: str, phase: str):
    net = caffe.Net(NETS / name / "net.prototxt", getattr(caffe, phase), weights=NETS / name / "net.caffemodel")
    info = json.loads((NETS / name / "info.json").read_text())
    arrays = dict(np.load(NETS / name / f"{phase.lower()}_phase.npz"))
    inputs = np.load(NETS / name / "test_phase.npz")
    net.forward(**{blob: inputs[f"blob/{blob}"] for blob in net.inputs})
    if phase == "TRAIN":
        net.backward()
    else:
        assert [[name, layer.type] for name, layer in net.layer_dict.items()] == info["layers"]
        assert {name: list(blob.shape) for name, blob in net.blobs.items()} == info["blobs"]
        assert (net.inputs, net.outputs) == (info["inputs"], info["outputs"])
    for key, expected in arrays.items():
        kind, rest = key.split("/", 1)
        if kind == "blob":
            check(key, net.blobs[rest].data, expected, 5e-5)
        elif kind == "blob_diff":
            check(key, net.blobs[rest].diff, expected, 5e-5)
        else:
            layer, index = rest.rsplit("/", 1)
            blob = net.params[layer][int(index)]
            check(key, blob.diff if kind == "param_diff" else blob.data, expected, 5e-5)


@pytest.mark.parametrize(
    "name", ["adam", "clip_itersize", "dns_lars", "inq_030_060", "lars_ratio", "nesterov", "resume_h5", "sgd_m9_L1"]
)
def test_training_through_the_blobs(name: str, replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(test_solvers, "Solver", pycaffe_solver._Training)
    test_solvers.compare(replay(name))
