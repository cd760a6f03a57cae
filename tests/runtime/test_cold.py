"""From a file to results in a new process: without torch, in little memory, with or without a cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack
from tests.runtime.native.nets import conv, ip, layer

NET = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 dim: 16 dim: 16 } } }\n'
    + conv("data", "a", 16, "kernel_size: 3 pad: 1")
    + layer("BatchNorm", "a", "b")
    + layer("Scale", "b", "c", "scale_param { bias_term: true }")
    + layer("ReLU", "c", "d")
    + conv("d", "e", 16, "kernel_size: 3 pad: 1 group: 2")
    + layer("Eltwise", "d e", "f")
    + layer("LRN", "f", "g")
    + layer("Pooling", "g", "h", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    + layer("Pooling", "g", "i", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }")
    + layer("Concat", "h i", "j")
    + ip("j", "k", 40)
    + layer("ReLU", "k", "l")
    + ip("l", "m", 10)
    + layer("Softmax", "m", "prob")
)

# runs a command, and says what was loaded
RUN = """
import json, sys
from demitasse.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps(sorted({"torch", "numba", "rich", "google.protobuf"} & set(sys.modules))))
"""

# computes nets one after another; says how much memory the last one took at most, and the bytes of its weights
MEASURE = """
import json, sys
import numpy as np
import numba
from demitasse.graph.weights import kept, nbytes
from demitasse.runtime.file_plan import FilePlan

def most():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

def compute(path):
    plan = FilePlan(path, threads=1)
    plan({name: np.ones((1, *plan.graph.values[number].shape[1:]), np.float32)
          for name, number in plan.graph.inputs.items()})
    return [weight for step in plan.graph.steps for weight in step.weights.values()]

for path in sys.argv[1:]:
    before = most()
    weights = compute(path)
assert "torch" not in sys.modules
print(json.dumps([most() - before, sum(map(nbytes, weights)), sum(map(kept, weights))]))
"""


def process(code: str, *arguments: object, **environment: str) -> str:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    """A net whose operations all have kernels, in net.demi, and inputs in data.npy; with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    torch.manual_seed(0)
    made = Net(prototxt.parse(NET, schema.NetParameter(), "net"))
    with torch.no_grad():
        for layer in made.named_layers().values():
            for name, blob in zip(layer.blob_names, layer.blobs(), strict=True):
                blob.uniform_(0.5, 1.5) if name in ("variance", "factor") else blob.normal_()
                if name == "weight" and layer.spec.type in ("Convolution", "InnerProduct"):
                    blob.mul_(torch.rand(blob.shape) < 0.05)
    save_weights(made, "net.caffemodel")
    Path("net.prototxt").write_text(NET)
    demitasse.pack("net.caffemodel", "net.demi", net="net.prototxt", definition=True)
    np.save("data.npy", np.random.default_rng(0).normal(size=(3, 6, 16, 16)).astype(np.float32))
    return made


def expected(net: Net, rows: int = 3) -> np.ndarray:
    with torch.no_grad():
        return net({"data": torch.from_numpy(np.load("data.npy")[:rows])})["prob"].numpy()


def loaded(output: str) -> list[str]:
    found: list[str] = json.loads(output.splitlines()[-1])
    return found


def entries() -> list[Path]:
    return list(Path("cache/demitasse").glob("model-*.packed"))


def check(net: Net, rows: int = 3) -> None:
    np.testing.assert_allclose(np.load("out.npz")["prob"], expected(net, rows), rtol=1e-4, atol=1e-6)


def test_torch_is_not_loaded(net: Net) -> None:
    command = ("run", "net.demi", "data.npy", "--output", "out.npz")
    assert "torch" not in loaded(process(RUN, *command))
    check(net)
    assert len(entries()) == 1
    Path("out.npz").unlink()
    assert loaded(process(RUN, *command)) == []
    check(net)


def test_other_batches_bring_the_weights_into_another_form(net: Net) -> None:
    whole = np.load("data.npy")
    for rows in (1, 9, 9, 1):
        np.save("data.npy", np.tile(whole, (3, 1, 1, 1))[:rows])
        assert "torch" not in loaded(process(RUN, "run", "net.demi", "data.npy", "--output", "out.npz"))
        check(net, rows)
    assert len(entries()) == 1


def test_a_damaged_entry_is_made_anew(net: Net) -> None:
    process(RUN, "run", "net.demi", "data.npy")
    (entry,) = entries()
    good = entry.read_bytes()
    for bad in (good[:-1], good[:100] + bytes([good[100] ^ 1]) + good[101:], b"", good + b"\0"):
        entry.write_bytes(bad)
        process(RUN, "run", "net.demi", "data.npy", "--output", "out.npz")
        check(net)
        assert entry.read_bytes() == good


def test_another_file_of_the_same_name_is_not_mistaken(net: Net) -> None:
    process(RUN, "run", "net.demi", "data.npy")
    with torch.no_grad():
        net.layer("m").bias.add_(torch.arange(10.0))  # type: ignore[union-attr, operator]
    save_weights(net, "net.caffemodel")
    demitasse.pack("net.caffemodel", "net.demi", net="net.prototxt", definition=True)
    process(RUN, "run", "net.demi", "data.npy", "--output", "out.npz")
    check(net)
    assert len(entries()) == 2


def test_a_cache_that_cannot_be_written(net: Net) -> None:
    Path("file").write_text("no folder")
    command = ("run", "net.demi", "data.npy", "--output", "out.npz")
    nowhere = {"XDG_CACHE_HOME": "/proc/none", "NUMBA_CACHE_DIR": str(Path("file/cache").absolute())}
    for _ in range(2):
        assert "torch" not in loaded(process(RUN, *command, **nowhere))
        check(net)
    assert entries() == []


def test_torch_computes_what_has_no_kernel(net: Net) -> None:
    text = NET.replace('type: "LRN"', 'type: "Sigmoid"')
    Path("net.prototxt").write_text(text)
    demitasse.pack("net.caffemodel", "net.demi", net="net.prototxt", definition=True)
    assert "torch" in loaded(process(RUN, "run", "net.demi", "data.npy", "--output", "out.npz"))
    changed = Net(prototxt.parse(text, schema.NetParameter(), "net"))
    changed.load_state_dict(net.state_dict(), strict=False)
    check(changed)


def large_file(path: Path, sizes: list[int], density: float) -> int:
    """Writes the file of inner products of powers of two; returns the number of weights that are not zero."""
    rng = np.random.default_rng(0)
    tensors, steps, count = [], [], 0
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = np.exp2(rng.integers(-7, 0, (outputs, inputs))).astype(np.float32)
        weight *= rng.choice(np.array([-1, 1], np.float32), weight.shape) * (rng.random(weight.shape) < density)
        tensors.append(of_array(f"fc{number}.weight", weight))
        steps.append(["InnerProduct", f"fc{number}"])
        count += np.count_nonzero(weight)
    graph = json.dumps({"inputs": {"data": [1, sizes[0]]}, "steps": steps})
    path.write_bytes(pack(tensors, {"graph": graph}))
    return count


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    large_file(tmp_path / "small.demi", [64, 32, 16], 0.05)
    count = large_file(tmp_path / "large.demi", [4096, 4096, 4096, 1000], 0.05)
    command = (MEASURE, tmp_path / "small.demi", tmp_path / "large.demi")
    process(*command)  # compiles loops and kernels
    shutil.rmtree(tmp_path / "cache")
    for _ in range(2):  # decoded, and from the cache
        grown, held, kept = json.loads(process(*command))
        assert kept == count
        assert held <= 2.2 * kept
        assert grown < 16 << 20  # 150 MB dense
