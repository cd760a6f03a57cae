"""demitasse export to OUT.c: the command, its files, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import demitasse
from demitasse.caffe.weights import save_weights
from demitasse.cli import main
from tests.export.c_source.compiling import to_powers
from tests.export.c_source.test_c import _to_powers
from tests.export.nets import LENET, build


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = build(LENET)
    _to_powers(net)
    Path("net.prototxt").write_text(LENET)
    save_weights(net, "net.caffemodel")
    np.save("inputs.npy", np.random.default_rng(0).random((20, 1, 28, 28), np.float32))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["export", *arguments])
    return int(stop.value.code or 0)


def test_a_caffe_net(capsys):
    flags = ["--calibration", "inputs.npy", "--main", "--report", "--bits", "16"]
    assert run("net.prototxt", "net.caffemodel", "out.c", *flags) == 0
    said = capsys.readouterr().out
    for name in ("out.c", "out.h", "out_main.c", "out.png"):
        assert f"{name}: " in said
        assert Path(name).stat().st_size > 0
    assert "conv1" in said
    assert "output prob: greatest value" in said
    assert "int16_t" in Path("out.h").read_text()


def test_the_least_flash(capsys):
    torch.manual_seed(0)
    layer = nn.Linear(400, 60)
    nn.init.zeros_(layer.weight[:, 50:350])  # zeros beside zeros, which a model can learn
    demitasse.save(to_powers(layer, 0.8), "model.demi", example=torch.zeros(1, 400))
    sizes = []
    for flags in ([], ["--smallest"]):
        assert run("model.demi", "out.c", "--range", "0", "1", *flags) == 0
        said = capsys.readouterr().out
        sizes.append(int(re.search(r"([\d,]+) bytes of tables", said)[1].replace(",", "")))
    assert "adaptive" in Path("out.c").read_text()
    assert sizes[1] < sizes[0]


def test_files_and_floats(capsys):
    model = to_powers(nn.Sequential(nn.Linear(5, 3), nn.ReLU()))
    demitasse.save(model, "model.demi", example=torch.zeros(1, 5))
    assert run("model.demi", "out.c", "--arithmetic", "float") == 0
    assert not Path("out_main.c").exists()
    assert "float" in Path("out.h").read_text()
    assert run("model.demi", "out.c", "--range", "-1", "1") == 0
    assert "model.demi" in Path("out.c").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.c"], "the ranges of values are not known: give inputs (--calibration)"),
        (["out.c", "--range", "1", "0"], "expected two numbers of float32, the lower one first"),
        (["out.c", "--calibration", "gone.npy"], "gone.npy"),
        (["out.c", "--calibration", "net.prototxt"], "found no array of numbers"),
        (["out.py", "--main"], "--main is for C"),
        (["out.onnx", "--bits", "8"], "--bits is for C"),
        (["out.pt2", "--smallest"], "--smallest is for C"),
        (["out.c", "--smallest", "--arithmetic", "float"], "--smallest is for the arithmetic 'int'"),
        (["out.c", "--range", "0", "1", "--batch", "4"], "--batch"),
        (["out.h", "--range", "0", "1"], "out.h: expected a file name that ends in .onnx, .pt2, .py or .c"),
        (["gone/out.c", "--range", "0", "1"], "there is no folder 'gone'"),
    ],
)
def test_wrong_use(arguments, message, capsys):
    assert run("net.prototxt", "net.caffemodel", *arguments) in (1, 2)
    assert message in capsys.readouterr().err
    assert not Path("out.c").exists()
