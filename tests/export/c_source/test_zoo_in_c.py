"""Whole nets in C: pruned to powers of two, with normalizations; the integers are the twin's, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from demitasse.export import c
from demitasse.zoo.models import MODELS
from tests.export.c_source.compiling import compiled, mobilenet, run, to_powers

# -O2 makes large nets quick; overflows and wrong places are still seen
CHECKED = ["-O2", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


NETS = {
    "lenet5": (lambda: MODELS["lenet5"](), 0.99, (1, 28, 28), 1000),
    "lenet300": (lambda: MODELS["lenet300"](), 0.987, (1, 28, 28), 1000),
    "resnet20": (lambda: MODELS["resnet20"](), 0.8, (3, 32, 32), 20),
    "mobilenet": (mobilenet, 0.5, (3, 96, 96), 10),
    "squeezenet": (lambda: MODELS["squeezenet1_1"](classes=20), 0.7, (3, 64, 64), 5),
}
QUICK = ("lenet300",)


@pytest.mark.parametrize("by", ["gcc", "clang"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in NETS])
def test_a_whole_net(name, by, tmp_path):
    made, zeros, shape, count = NETS[name]
    torch.manual_seed(0)
    model = to_powers(made(), zeros)
    count = count // 20 if name in QUICK and by == "clang" else count
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(3))
    report = c(model, x[:1], tmp_path / "net.c", calibration=x[:20].numpy(), bits=16, main=True)
    program = compiled(tmp_path / "net.c", by, CHECKED)
    blob = next(iter(report.twin.net.net.inputs))
    assert np.array_equal(run(program, x.numpy()), report.twin({blob: x.numpy()})["output"])
    c(model, x[:1], tmp_path / "float.c", arithmetic="float", main=True)
    found = run(compiled(tmp_path / "float.c", by, CHECKED), x[:5].numpy(), "floats")
    with torch.no_grad():
        expected = model(x[:5]).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
