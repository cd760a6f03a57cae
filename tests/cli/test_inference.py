"""run and bench: the net of a .demi file, on arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.cli import main

TWO = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
layer { name: "conv" type: "Convolution" bottom: "sum" top: "conv"
  convolution_param { num_output: 64 kernel_size: 3 weight_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" } } }
"""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(each) for each in arguments])
    return int(stop.value.code or 0)


def packed(text: str, name: str) -> Net:
    torch.manual_seed(0)
    net = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    with torch.no_grad():
        for weight in (p for p in net.parameters() if p.ndim > 1):
            weight.mul_(torch.rand_like(weight) < 0.05)
    save_weights(net, "net.caffemodel")
    Path("net.prototxt").write_text(text)
    demitasse.pack("net.caffemodel", name, net="net.prototxt", definition=True)
    return net


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_run_on_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in TWO.splitlines() if 'name: "b"' not in line]
    net = packed("\n".join(lines).replace('bottom: "b"', 'bottom: "a"'), "net.demi")
    images = np.random.default_rng(0).standard_normal((4, 3, 9, 9))
    np.save("images.npy", images)
    assert run("run", "net.demi", "images.npy", "--output", "out.npz", "--threads", 2) == 0
    with torch.no_grad():
        expected = net({"a": torch.from_numpy(images).float()})["ip"].numpy()
    found = np.load("out.npz")["ip"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    said = capsys.readouterr().out
    assert said == f"ip: shape [4, 5], greatest at {expected.argmax(1).tolist()}\n"
    assert run("run", "net.demi", "images.npy", "--blob", "conv", "--output", "conv.npz") == 0
    assert np.load("conv.npz")["conv"].shape == (4, 64, 7, 7)


def test_run_on_several_arrays() -> None:
    net = packed(TWO, "net.demi")
    arrays = {name: np.random.default_rng(0).integers(0, 255, (2, 3, 9, 9), dtype=np.uint8) for name in "ab"}
    np.savez("images.npz", **arrays)
    assert run("run", "net.demi", "images.npz", "--output", "out.npz") == 0
    with torch.no_grad():
        expected = net({name: torch.from_numpy(array).float() for name, array in arrays.items()})["ip"].numpy()
    np.testing.assert_allclose(np.load("out.npz")["ip"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_bench(capsys: pytest.CaptureFixture[str]) -> None:
    packed(TWO, "net.demi")
    threads = torch.get_num_threads()
    assert run("bench", "net.demi", "--batch", 2, "--threads", 2, "--rounds", 3) == 0
    said = capsys.readouterr().out
    assert "net.demi, batches of 2, 2 threads: medians of 3 rounds" in said
    assert "sparse weights" in said
    assert "dense operations" in said
    assert torch.get_num_threads() == threads


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    packed(TWO, "net.demi")
    np.save("images.npy", np.zeros((1, 3, 9, 9)))
    np.savez("one.npz", a=np.zeros((1, 3, 9, 9)))
    np.savez("small.npz", a=np.zeros((1, 3, 8, 9)), b=np.zeros((1, 3, 9, 9)))
    np.savez("objects.npz", a=np.array([None]), b=np.zeros((1, 3, 9, 9)))
    Path("text.npy").write_text("no array")
    Path("image.png").write_bytes(b"")
    demitasse.save({"w": torch.ones(2, 2)}, "weights.demi")
    for arguments, code, message in (
        (("run", "net.demi", "images.npy"), 1, "images.npy: the net has the inputs a, b; give a .npz file with all"),
        (("run", "net.demi", "one.npz"), 1, "one.npz: there is no array 'b'; found a"),
        (("run", "net.demi", "small.npz"), 1, "small.npz: a has shape [1, 3, 8, 9] of float64; expected numbers of"),
        (("run", "net.demi", "objects.npz"), 1, "objects.npz: cannot be read"),
        (("run", "net.demi", "text.npy"), 1, "text.npy: cannot be read"),
        (
            ("run", "net.demi", "image.png"),
            2,
            "image.png: the net has the inputs a, b; give a .npz file",
        ),
        (("run", "net.demi", "missing.npy"), 1, "missing.npy"),
        (("run", "weights.demi", "images.npy"), 2, "weights.demi: it contains no definition of the net"),
        (("bench", "weights.demi"), 2, "weights.demi: it contains no definition of the net"),
        (("bench", "missing.demi"), 1, "missing.demi"),
        (("bench", "net.demi", "--batch", 0), 2, "--batch"),
    ):
        assert run(*arguments) == code, arguments
        assert message in capsys.readouterr().err
