"""One suite over every registered form of exported files: what each must do, whatever its content."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import pytest
import torch

from demitasse import export as exports
from demitasse.errors import ExportError
from demitasse.export import TARGETS, export, of_net
from demitasse.export.check import compare
from tests.export.nets import LENET, build

# ending -> the package that it needs beside torch, or None; and whether the same model gives the same bytes
NEEDS = {".onnx": "onnx", ".pt2": None, ".py": None}
TOLERANCE = 1e-3

TWO = """
name: "two"
input: "b" input_shape { dim: 2 dim: 3 }
input: "a" input_shape { dim: 2 dim: 3 }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" eltwise_param { coeff: 1 coeff: -2 } }
layer { name: "exp" type: "Exp" bottom: "sum" top: "exp" }
layer { name: "out" type: "InnerProduct" bottom: "sum" top: "out"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
"""


@pytest.fixture(params=list(TARGETS))
def suffix(request):
    needed = NEEDS[request.param]
    if needed is not None and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    return request.param


def test_every_target_is_here():
    assert set(NEEDS) == set(TARGETS), "give the new target a line in NEEDS"
    for suffix in TARGETS:
        assert suffix.startswith(".")
        assert 0 < TARGETS[suffix].tolerance <= TOLERANCE


def test_a_target_makes_its_file_and_tells_of_it(suffix):
    made = TARGETS[suffix].make(of_net(build(TWO)))
    assert next(iter(made.files)) == suffix
    assert all(ending.startswith(".") and content for ending, content in made.files.items())
    assert made.about.strip()


def test_inputs_and_outputs_are_in_the_order_of_the_model(suffix):
    net = build(TWO)
    model, target = of_net(net), TARGETS[suffix]
    torch.manual_seed(0)
    inputs = {name: torch.randn(5, 3) for name in model.inputs}  # not the batch of the net
    found = target.run(target.make(model).files, inputs)
    if found is None:
        pytest.skip("what would run it is not installed")
    with torch.no_grad():
        expected = net.eval()(inputs)
    assert len(found) == len(model.outputs) == 2
    for name, output in zip(model.outputs, found, strict=True):
        torch.testing.assert_close(output, expected[name], rtol=target.tolerance, atol=target.tolerance)


def test_the_net_stays_as_it_is(suffix, tmp_path):
    net = build(LENET)
    net.train()
    before, modes = copy.deepcopy(net.state_dict()), [module.training for module in net.modules()]
    export(net, tmp_path / f"net{suffix}")
    assert all(torch.equal(before[name], net.state_dict()[name]) for name in before)
    assert [module.training for module in net.modules()] == modes


def test_files_that_compute_something_else_are_not_written(suffix, tmp_path, monkeypatch):
    target = TARGETS[suffix]
    model = of_net(build(TWO))
    if target.run(target.make(model).files, {name: torch.zeros(2, 3) for name in model.inputs}) is None:
        pytest.skip("what would run it is not installed")

    def wrong(files, inputs):
        return [output + 1 for output in target.run(files, inputs)]

    monkeypatch.setitem(exports.TARGETS._entries, suffix, target._replace(run=wrong))
    with pytest.raises(ExportError, match=r"out|exp"):
        export(model, tmp_path / f"net{suffix}")
    assert list(tmp_path.iterdir()) == []
    assert compare(model, lambda inputs: target.run(target.make(model).files, inputs), target.tolerance)


def test_what_runs_a_file_takes_no_other(suffix):
    """A file of another model, cut short, is an error and no output."""
    target = TARGETS[suffix]
    files = target.make(of_net(build(TWO))).files
    broken = {ending: content[: len(content) // 2] for ending, content in files.items()}
    with pytest.raises(Exception):  # noqa: B017 (onnxruntime's, torch's or Python's own)
        _ = list(target.run(broken, {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}) or [])
