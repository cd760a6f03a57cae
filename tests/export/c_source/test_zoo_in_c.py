"""Whole nets in C: pruned to powers of two, with normalizations; the integers are the twin's, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import demitasse
from demitasse.export import c
from demitasse.zoo.data.cifar10 import read_images
from demitasse.zoo.models import MODELS
from demitasse.zoo.models.resnet_cifar import resnet20
from tests.export.c_source.compiling import compiled, mobilenet, run, to_powers
from tests.shrinking.test_resnet import guesses, normalized

# -O2 makes large nets quick; overflows and wrong places are still seen
CHECKED = ["-O2", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


NETS = {
    "lenet5": (lambda: MODELS["lenet5"](), 0.99, (1, 28, 28), 1000),
    "lenet300": (lambda: MODELS["lenet300"](), 0.987, (1, 28, 28), 1000),
    "resnet20": (lambda: MODELS["resnet20"](), 0.8, (3, 32, 32), 1000),
    "mobilenet": (mobilenet, 0.5, (3, 96, 96), 1000),
    "squeezenet": (lambda: MODELS["squeezenet1_1"](classes=20), 0.7, (3, 64, 64), 1000),
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
    c(model, x[:1], tmp_path / "floats.c", arithmetic="float", main=True)
    found = run(compiled(tmp_path / "floats.c", by, CHECKED), x[:5].numpy(), "floats")
    with torch.no_grad():
        expected = model(x[:5]).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_photographs_are_recognized_as_by_the_net(shared, tmp_path):
    """A trained ResNet-20, compressed without training to 80 % zeros and 4 bits: at most 0.5 points are lost."""
    data = read_images(next((shared / "data/cifar10").glob("*.zip")))
    model = resnet20()
    state = torch.load(shared / "models/resnet20_cifar10.th", weights_only=True, map_location="cpu")["state_dict"]
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    drawn = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(0))[:512]
    calibration = normalized(torch.from_numpy(data.train_images[drawn.numpy()]))
    demitasse.shrink(model.eval(), calibration, sparsity=0.8, bits=4, grid="pow2")
    x, labels = normalized(torch.from_numpy(data.test_images[:1000])), data.test_labels[:1000]
    report = c(model, x[:1], tmp_path / "net.c", calibration=calibration[:100].numpy(), bits=16, main=True)
    blob = next(iter(report.twin.net.net.inputs))
    found = report.twin({blob: x.numpy()})["output"]
    assert np.array_equal(run(compiled(tmp_path / "net.c", flags=CHECKED), x[:20].numpy()), found[:20])
    of_the_c, of_the_net = ((guess == labels).mean() for guess in (found.argmax(1), guesses(model, x).numpy()))
    assert of_the_net > 0.6
    assert of_the_c >= of_the_net - 0.005
