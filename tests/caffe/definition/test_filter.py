"""A net's own ``state``: the same layers in every front end."""

from __future__ import annotations

from pathlib import Path

import pytest

from demitasse import pycaffe
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver
from demitasse.caffe.weights import save_weights
from demitasse.cli import main
from demitasse.export import of_files

NET = """
state { phase: TRAIN level: 2 stage: "own" }
layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "train" type: "TanH" bottom: "ip" top: "train" include { phase: TRAIN } }
layer { name: "test" type: "TanH" bottom: "ip" top: "test" include { phase: TEST } }
layer { name: "own" type: "TanH" bottom: "ip" top: "own" include { stage: "own" } }
layer { name: "both" type: "TanH" bottom: "ip" top: "both" include { stage: "own" stage: "added" } }
layer { name: "high" type: "TanH" bottom: "ip" top: "high" include { min_level: 2 } }
layer { name: "low" type: "TanH" bottom: "ip" top: "low" include { max_level: 1 } }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "net.prototxt"
    found.write_text(NET)
    return found


def chosen(net: Net) -> list[str]:
    return [spec.name for spec in net.spec.layer if spec.type == "TanH"]


def test_phase_is_replaced_stages_are_added_and_the_level_stays_unless_given(path: Path) -> None:
    assert chosen(Net.from_file(path)) == ["test", "own", "high"]
    assert chosen(Net.from_file(path, schema.TRAIN, stages=["added"])) == ["train", "own", "both", "high"]
    assert chosen(Net.from_file(path, schema.TEST, level=0)) == ["test", "own", "low"]
    assert chosen(Net.from_file(path, phase=None)) == ["train", "own", "high"]


def test_pycaffe_uses_the_state(path: Path) -> None:
    net = pycaffe.Net(str(path), pycaffe.TEST, stages=["added"])
    assert [name for name in net._layer_names if name in ("test", "own", "both", "high", "low")] == [
        "test", "own", "both", "high",
    ]  # fmt: skip


def test_a_solver_lets_the_nets_own_state_go_before_its_phase(path: Path) -> None:
    text = f"""net: "{path}" base_lr: 0 lr_policy: "fixed" solver_mode: CPU snapshot_prefix: "{path.parent}/s"
      test_iter: 1 test_interval: 1 test_state {{ phase: TEST stage: "added" }} train_state {{ level: 1 }}"""
    solver = Solver(prototxt.parse(text, schema.SolverParameter(), "solver"))
    assert chosen(solver.net) == ["train", "own", "low"]
    assert chosen(solver.test_nets[0]) == ["test", "own", "both", "high"]


def test_export_uses_the_state(path: Path) -> None:
    save_weights(Net.from_file(path), path.with_suffix(".caffemodel"))
    assert of_files(path, path.with_suffix(".caffemodel")).outputs == ["test", "own", "high"]


@pytest.mark.parametrize("command", ["time", "test"])
def test_commands_use_the_state(path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    weights = path.with_suffix(".caffemodel")
    save_weights(Net.from_file(path), weights)
    more = [f"-weights={weights}"] if command == "test" else []
    with pytest.raises(SystemExit) as end:
        main([command, f"-model={path}", "-iterations=1", *more])
    found = capsys.readouterr().err
    assert not end.value.code, found
    assert "Creating Layer own" in found
    assert "Creating Layer high" in found
    assert "Creating Layer low" not in found
