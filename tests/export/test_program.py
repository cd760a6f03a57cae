"""Programs of torch.export: they run where demitasse is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse.export import export
from tests.export.nets import NETS, build

SCRIPT = """
import sys, numpy, torch
sys.modules["demitasse"] = None  # importing it fails
program = torch.export.load(sys.argv[1])
inputs = numpy.load(sys.argv[2])
with torch.no_grad():
    outputs = program.module()(*map(torch.from_numpy, inputs.values()))
numpy.savez(sys.argv[3], **{name: tensor.numpy() for name, tensor in outputs.items()})
"""


@pytest.mark.parametrize("name", ["inception", "sequence"])
def test_another_process_without_demitasse(name, tmp_path):
    net = build(NETS[name])
    export(net, tmp_path / "net.pt2", check=False)
    axis = 1 if name == "sequence" else 0
    inputs = {key: torch.rand(*shape[:axis], 5, *shape[axis + 1 :]) for key, shape in net.inputs.items()}
    np.savez(tmp_path / "in.npz", **{key: tensor.numpy() for key, tensor in inputs.items()})
    paths = [str(tmp_path / each) for each in ("net.pt2", "in.npz", "out.npz")]
    subprocess.run([sys.executable, "-c", SCRIPT, *paths], check=True, cwd=tmp_path)
    found = np.load(tmp_path / "out.npz")
    assert list(found) == net.outputs
    for key, expected in net(inputs).items():
        np.testing.assert_allclose(found[key], expected.detach(), rtol=1e-5, atol=1e-6)


def test_weights_have_the_names_of_layers_and_nothing_tells_of_this_machine(tmp_path):
    export(build(NETS["inception"]), tmp_path / "net.pt2", check=False)
    state = torch.export.load(tmp_path / "net.pt2").state_dict
    assert {"conv1_3x3.weight", "a_1x1.bias", "classifier.weight"} <= set(state)
    assert str(Path(demitasse.__file__).parent).encode() not in (tmp_path / "net.pt2").read_bytes()
