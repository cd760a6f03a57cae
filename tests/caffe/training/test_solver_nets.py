"""Weights that the layers of a test net share by ``param { name }`` with layers of the training net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import pycaffe
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training import solver_nets
from demitasse.caffe.training.solver import Solver

DATA = """layer { name: "data" type: "DummyData" top: "data" top: "target"
  dummy_data_param { shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "gaussian" }
    data_filler { type: "gaussian" } } }
"""
IP = """layer {{ name: "{name}" type: "{method}InnerProduct" bottom: "data" top: "{name}"
  param {{ name: "w" }} param {{ name: "b" }} {rule} {settings}
  inner_product_param {{ num_output: 2 weight_filler {{ type: "gaussian" std: 1 }} }} }}
"""
LOSSES = """
layer { name: "loss" type: "EuclideanLoss" bottom: "trained" bottom: "target" top: "loss" include { phase: TRAIN } }
layer { name: "same" type: "EuclideanLoss" bottom: "trained" bottom: "tested" top: "same" include { phase: TEST } }
"""
SETTINGS = {
    "": "",
    "DNS": "dns_inner_product_param { c_rate: 0 power: 0 }",
    "INQ": "inq_inner_product_param { portion: 0.6 }",
}
TESTED = "include { phase: TEST }"


def net_text(method: str = "", order: tuple[str, str] = ("trained", "tested")) -> str:
    layers = {
        "trained": IP.format(name="trained", method=method, rule="", settings=SETTINGS[method]),
        "tested": IP.format(name="tested", method=method, rule=TESTED, settings=SETTINGS[method]),
    }
    return DATA + "".join(layers[name] for name in order) + LOSSES


def solver_param(folder: Path, text: str) -> schema.Message:
    (folder / "net.prototxt").write_text(text)
    return prototxt.parse(
        f"""net: "{folder / "net.prototxt"}" base_lr: 0.1 momentum: 0.9 lr_policy: "fixed" random_seed: 1
        solver_mode: CPU snapshot_prefix: "{folder / "snap"}" test_iter: 1 test_interval: 100 max_iter: 10""",
        schema.SolverParameter(),
        "solver",
    )


def difference(net: Net) -> float:
    with torch.no_grad():
        return float(net(net.next_batch())["same"])


@pytest.mark.parametrize("method", ["", "DNS", "INQ"])
@pytest.mark.parametrize("order", [("trained", "tested"), ("tested", "trained")])
def test_a_layer_of_the_test_net_alone_has_the_trained_weights_that_it_shares(
    tmp_path: Path, method: str, order: tuple[str, str]
) -> None:
    param = solver_param(tmp_path, net_text(method, order))
    solver = Solver(param)
    solver.step(5)
    solver.test_all()
    assert difference(solver.test_nets[0]) == 0
    tested, trained = solver.test_nets[0].layer("tested"), solver.net.layer("trained")
    for name in trained.blob_names:
        assert torch.equal(getattr(tested, name), getattr(trained, name)), name
    if method == "DNS":
        assert not bool(trained.weight_mask.all())
    resumed = Solver(param)
    resumed.restore(solver.snapshot())
    assert difference(resumed.test_nets[0]) == 0
    assert torch.equal(resumed.test_nets[0].layer("tested").weight, trained.weight)


def test_layers_of_the_two_phases_share_by_the_name_of_the_parameter(tmp_path: Path) -> None:
    rule = "include { phase: TRAIN }"
    text = DATA + IP.format(name="one", method="", rule=rule, settings="")
    text += IP.format(name="other", method="", rule=TESTED, settings="")
    text += 'layer { name: "loss" type: "EuclideanLoss" bottom: "one" bottom: "target" include { phase: TRAIN } }'
    solver = Solver(solver_param(tmp_path, text))
    solver.step(5)
    assert solver.test_nets[0].layer("other").weight is solver.net.layer("one").weight


def test_pycaffe_shows_the_trained_weights(tmp_path: Path) -> None:
    solver_param(tmp_path, net_text())
    path = tmp_path / "solver.prototxt"
    path.write_text(str(solver_param(tmp_path, net_text())))
    solver = pycaffe.SGDSolver(str(path))
    solver.step(5)
    net = solver.test_nets[0]
    np.testing.assert_array_equal(net.params["tested"][0].data, solver.net.params["trained"][0].data)
    assert net.forward()["same"] == 0
    other = pycaffe.Net(str(tmp_path / "net.prototxt"), pycaffe.TEST)
    other.share_with(solver.net)
    np.testing.assert_array_equal(other.params["tested"][0].data, solver.net.params["trained"][0].data)


def test_blobs_that_the_training_net_does_not_have_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Solver(solver_param(tmp_path, net_text().replace('param { name: "w" } param { name: "b" } include', "include")))
    assert "test net (#0): the training net does not have all blobs of 'tested'" in caplog.text
    caplog.clear()
    Solver(solver_param(tmp_path, net_text()))
    assert "does not have" not in caplog.text


def test_a_shared_parameter_of_another_size_is_refused() -> None:
    test, train = (
        Net(prototxt.parse(DATA + IP.format(name=name, method="", rule="", settings=""), schema.NetParameter(), "net"))
        for name in ("one", "other")
    )
    train.shared_params["w"] = train.layer("other"), "bias"
    with pytest.raises(Exception, match=r"parameter 'w': the test net's has shape \[2, 3\], the training net's \[2\]"):
        solver_nets.share_blobs(test, train)
