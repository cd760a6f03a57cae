"""All targets alike: what they compute, what they refuse, and the command."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import export as exports
from demitasse.caffe.weights import save_weights
from demitasse.cli import main
from demitasse.errors import ExportError, UsageError
from demitasse.export import TARGETS, export, of_net
from demitasse.export.check import compare
from demitasse.export.targets import Made
from tests.export.nets import LENET, NETS, build


@pytest.mark.parametrize("suffix", list(TARGETS))
@pytest.mark.parametrize("name", NETS)
def test_nets_give_the_same_for_batches_of_any_size(name, suffix, tmp_path):
    report = export(build(NETS[name]), tmp_path / f"net{suffix}")
    assert report.files[0] == tmp_path / f"net{suffix}"
    assert all(path.stat().st_size for path in report.files)
    assert report.rows
    assert max(row.relative for row in report.rows) <= 1e-5


FILTER = """
input: "x" input_shape { dim: 4 dim: 3 }
input: "chosen" input_shape { dim: 4 }
layer { name: "some" type: "Filter" bottom: "x" bottom: "chosen" top: "some" }
"""
FIXED_BATCH = """
input: "x" input_shape { dim: 4 dim: 6 }
layer { name: "shape" type: "Reshape" bottom: "x" top: "shape" reshape_param { shape { dim: 4 dim: 2 dim: 3 } } }
"""


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_what_a_graph_cannot_express(suffix, tmp_path):
    with pytest.raises(ExportError, match="layer 'some' of type Filter cannot be exported: how much"):
        export(build(FILTER), tmp_path / f"net{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_net_of_one_batch_size(suffix, tmp_path):
    model = of_net(build(FIXED_BATCH))
    with pytest.raises(ExportError, match=r"\(batch\)"):
        export(model, tmp_path / f"net{suffix}")
    assert export(model.fixed(), tmp_path / f"net{suffix}").rows[0].shape == (4, 2, 3)


def test_a_file_that_gives_something_else_is_not_written(tmp_path, monkeypatch):
    wrong = TARGETS[".py"]._replace(
        make=lambda model: Made({".py": b"#"}, ""),
        run=lambda files, inputs: [torch.full((len(inputs["data"]), 5), 0.3)],
    )
    monkeypatch.setitem(TARGETS._entries, ".py", wrong)
    with pytest.raises(ExportError, match=r"output 'prob' of the file differs by .* expected at most 1e-05"):
        export(build(LENET), tmp_path / "net.py")
    assert list(tmp_path.iterdir()) == []
    assert export(build(LENET), tmp_path / "net.py", check=False).rows == []
    assert (tmp_path / "net.py").read_bytes() == b"#"


@pytest.mark.parametrize(
    ("given", "message"),
    [(torch.ones(2, 3), "has shape"), (torch.full((2, 2), torch.nan), "differs by inf")],
)
def test_differences_that_are_no_numbers(given, message):
    net = build('input: "x" input_shape { dim: 2 dim: 2 } layer { name: "y" type: "ReLU" bottom: "x" top: "y" }')
    with pytest.raises(ExportError, match=message):
        compare(of_net(net).fixed(), lambda inputs: [given], 1e-4)


def test_unknown_ending(tmp_path):
    with pytest.raises(UsageError, match=r"'.onx'; did you mean '.onnx'\?"):
        export(build(LENET), tmp_path / "net.onx")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(LENET)
    save_weights(build(LENET), "net.caffemodel")
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["export", *arguments])
    return int(stop.value.code or 0)


def test_the_command(files, capsys):
    assert run("net.prototxt", "net.caffemodel", "net.py", "--batch", "5", "--output", "ip1", "--output", "prob") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[-3:]] == ["output", "ip1", "prob"]
    assert said[-1].split()[1] == "5x5"
    assert said[0].startswith("net.py: ")
    assert said[1].startswith("net.safetensors: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.caffemodel"], "expected NET WEIGHTS OUT"),
        (["net.prototxt", "net.caffemodel", "net.py", "--batch", "many"], "expected 'dynamic', 'fixed' or a positive"),
        (["net.prototxt", "net.caffemodel", "net.py", "--batch", "0"], "expected 'dynamic', 'fixed' or a positive"),
        (["net.prototxt", "net.caffemodel", "net.py", "--phase", "TESTING"], "expected TRAIN or TEST"),
        (["net.prototxt", "net.caffemodel", "net.py", "--input-shape", "data=1,x"], "expected name=N"),
        (["net.prototxt", "net.caffemodel", "net.py", "--output", "porb"], "did you mean 'prob'"),
    ],
)
def test_wrong_use_of_the_command(files, capsys, arguments, message):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_without_onnxruntime(files, capsys, monkeypatch):
    monkeypatch.setattr(exports.onnx, "find_spec", lambda name: None if name == "onnxruntime" else True)
    assert run("net.prototxt", "net.caffemodel", "net.onnx") == 0
    assert "not compared" in capsys.readouterr().out


def test_without_the_packages_for_onnx(files, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert run("net.prototxt", "net.caffemodel", "net.onnx") == 2
    assert "pip install 'demitasse[onnx]'" in capsys.readouterr().err
    assert not Path("net.onnx").exists()


def test_random_inputs_are_of_the_kind_that_layers_ask_for():
    from demitasse.export.check import samples

    model = of_net(build(NETS["sequence"]))
    drawn = samples(model, model.sized(50), torch.Generator().manual_seed(0))
    assert np.unique(drawn["cont"]).tolist() == [0, 1]
    assert drawn["x"].std() == pytest.approx(1, abs=0.1)
