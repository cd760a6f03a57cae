"""PyTorch modules made fast: the same results, whatever the module is made of."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import demitasse
from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.errors import FileFormatError, UsageError
from demitasse.runtime import OptimizedModule
from demitasse.runtime.native.kernels import folders
from demitasse.zoo.models import MODELS
from tests.runtime.playground import agree, sparse


class Block(nn.Module):
    """What convolutional nets are made of, with operations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.second = nn.Conv2d(32, 32, 3, padding=1, groups=4)
        self.plain = nn.BatchNorm2d(32, affine=False)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(32 * 16, 10)
        self.dropout = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.first(x)))
        y = F.relu6(self.plain(self.second(x)))
        y += x
        y = F.max_pool2d(F.leaky_relu(y, 0.1), 3, 2, 1)
        y = F.adaptive_avg_pool2d(torch.cat([y, x[:, :, ::2, ::2]], 1)[:, :32], 4)
        return self.head(self.dropout(y.flatten(1))).softmax(-1)


TEXT = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" } } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" } } }
"""
IMAGES = torch.randn(2, 3, 16, 16)

NETS = {
    "lenet5": (1, 28, 28),
    "lenet300": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "squeezenet": (3, 67, 67),
    "resnet18": (3, 64, 64),
}


@pytest.mark.parametrize("density", [0.05, 1.0])
@pytest.mark.parametrize("name", NETS)
def test_models_of_the_zoo(name: str, density: float) -> None:
    model = sparse(MODELS[name](), density)
    fast = demitasse.optimize(model, torch.randn(1, *NETS[name]))
    for batch in (1, 2, 7):
        agree(model, fast, torch.randn(batch, *NETS[name]))


def test_sparse_nets_are_computed_from_sparse_weights() -> None:
    model = sparse(MODELS["lenet5"](), 0.05)
    fast = demitasse.optimize(model, torch.randn(1, 1, 28, 28))
    report = fast.report()
    assert {layer.kernel for layer in report.layers if layer.total} == {"sparse"}
    kept = sum(
        int(module.weight.count_nonzero()) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)
    )
    assert sum(layer.kept for layer in report.layers) == kept
    assert "together" in str(report)
    dense = demitasse.optimize(MODELS["lenet5"]().eval(), torch.randn(1, 1, 28, 28)).report()
    assert "sparse" not in {layer.kernel for layer in dense.layers if layer.kind == "Convolution"}


def test_operations_in_place_and_of_all_kinds() -> None:
    model = sparse(Block(), 0.3)
    fast = demitasse.optimize(model, torch.randn(2, 3, 16, 16))
    x = torch.randn(3, 3, 16, 16)
    kept = x.clone()
    agree(model, fast, x)
    assert torch.equal(x, kept)


def test_a_transformer() -> None:
    model = sparse(MODELS["gpt"](), 0.05)
    tokens = torch.randint(0, 50, (2, 16))
    fast = demitasse.optimize(model, tokens)
    for batch in (1, 3):
        agree(model, fast, torch.randint(0, 50, (batch, 16)))
    kernels = {layer.kernel for layer in fast.report().layers}
    assert kernels == {"sparse", "dense", "PyTorch"} or kernels == {"sparse", "PyTorch"}


def test_a_model_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=100
    )
    model = sparse(transformers.BertModel(config), 0.05)
    example = {"input_ids": torch.randint(0, 100, (2, 12)), "attention_mask": torch.ones(2, 12, dtype=torch.long)}
    fast = demitasse.optimize(model, example)
    agree(model, fast, **example)
    agree(model, fast, **{name: torch.cat([value] * 2) for name, value in example.items()})


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("constant", torch.arange(3.0))

    def forward(self, x: Tensor, *, scale: Tensor) -> dict[str, Any]:
        found = self.linear(x)
        return {"sum": (found + scale, [found]), "constant": self.constant, "same": x}


def test_arguments_and_results_of_any_structure() -> None:
    model = Several().eval()
    example = {"x": torch.randn(2, 8), "scale": torch.randn(2, 1)}
    fast = demitasse.optimize(model, example)
    agree(model, fast, **example)
    agree(model, fast, x=torch.randn(5, 8), scale=torch.randn(5, 1))
    with pytest.raises(
        UsageError, match="found 2 arguments; expected 0 arguments and x, scale by name, as in the example"
    ):
        fast(example["x"], example["scale"])


def test_weights_are_those_at_the_time() -> None:
    model = sparse(MODELS["lenet300"](), 0.05)
    x = torch.randn(2, 1, 28, 28)
    before = model(x).detach()
    fast = demitasse.optimize(model, x)
    torch.testing.assert_close(fast(x), before, rtol=1e-4, atol=1e-5)
    assert isinstance(fast, OptimizedModule)
    assert not list(fast.parameters())


def test_copies_and_threads() -> None:
    model = sparse(MODELS["gpt"](), 0.05)
    tokens = torch.randint(0, 50, (2, 16))
    for made, x in ((demitasse.optimize(model, tokens), tokens), (demitasse.optimize(sparse(Block()), IMAGES), IMAGES)):
        expected = made(x)
        assert torch.equal(copy.deepcopy(made)(x), expected)
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(3)
            torch.testing.assert_close(made(x), expected)
        finally:
            torch.set_num_threads(threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own(tmp_path: Path) -> None:
    """Those of the parent are not there; a run must not wait for them."""
    code = """
import os, torch, demitasse
from demitasse.zoo.models import MODELS
model = MODELS["lenet5"]().eval()
with torch.no_grad():
    for weight in (p for p in model.parameters() if p.ndim > 1):
        weight.mul_(torch.rand_like(weight) < 0.05)
x = torch.randn(4, 1, 28, 28)
torch.set_num_threads(2)
fast = demitasse.optimize(model, x)
expected = fast(x)
child = os.fork()
if child == 0:
    os._exit(0 if torch.equal(fast(x), expected) else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert torch.equal(fast(x), expected)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120, cwd=tmp_path)


def test_a_file_that_contains_its_net(tmp_path: Path) -> None:
    net = Net(prototxt.parse(TEXT, schema.NetParameter(), "net"))
    save_weights(net, tmp_path / "net.caffemodel")
    (tmp_path / "net.prototxt").write_text(TEXT)
    demitasse.pack(tmp_path / "net.caffemodel", tmp_path / "net.demi", net=tmp_path / "net.prototxt", definition=True)
    plan = demitasse.optimize(tmp_path / "net.demi")
    x = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(plan({"data": x})["ip"], net({"data": x})["ip"], rtol=1e-4, atol=1e-3)
    assert demitasse.optimize(str(tmp_path / "net.demi"), keep=["conv"])({"data": x}).keys() == {"conv"}
    demitasse.save(MODELS["lenet5"](), tmp_path / "model.demi")
    with pytest.raises(UsageError, match=r"model\.demi: it contains no definition of the net"):
        demitasse.optimize(tmp_path / "model.demi")
    with pytest.raises(UsageError, match="a Caffe net needs no example"):
        demitasse.optimize(tmp_path / "net.demi", x)
    with pytest.raises(FileFormatError, match=r"missing\.demi"):
        demitasse.optimize(tmp_path / "missing.demi")


class Sizes(nn.Module):
    def forward(self, x: Tensor, factor: int = 2, flag: bool | None = None) -> Tensor:
        found = x.sum((2, 3)) / x.shape[2] * factor
        return found if flag is None else -found


class Length(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x), -1)


class Rows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row.sum() for row in x])


def test_arguments_that_the_graph_is_wrong_for() -> None:
    fast = demitasse.optimize(Sizes().eval(), (torch.randn(2, 3, 4, 4), 3))
    agree(Sizes(), fast, torch.randn(5, 3, 4, 4), 3)
    for arguments, message in (
        (
            (torch.randn(2, 3, 5, 4), 3),
            r"argument x has shape \[2, 3, 5, 4\]; expected \['n', 3, 4, 4\], as in the example",
        ),
        ((torch.randn(2, 3, 4), 3), r"argument x has shape \[2, 3, 4\]"),
        ((torch.randn(2, 3, 4, 4), 4), "argument factor is 4; expected 3, as in the example"),
        ((torch.randn(2, 3, 4, 4).double(), 3), r"argument x is a torch.strided tensor of torch.float64; expected"),
        (("x", 3), "argument x is a str; expected a tensor of shape"),
        ((torch.randn(2, 3, 4, 4),), "found 1 argument; expected 2 arguments, as in the example"),
    ):
        with pytest.raises(UsageError, match=message):
            fast(*arguments)
    one = demitasse.optimize(Length().eval(), torch.randn(1, 4, 2))
    agree(Length(), one, torch.randn(1, 4, 2))
    with pytest.raises(UsageError, match=r"argument x has shape \[2, 4, 2\]; expected \[1, 4, 2\], as in the example"):
        one(torch.randn(2, 4, 2))
    rows = demitasse.optimize(Rows().eval(), torch.randn(3, 4))
    agree(Rows(), rows, torch.randn(3, 4))
    with pytest.raises(UsageError, match=r"argument x has shape \[5, 4\]; expected \[3, 4\], as in the example"):
        rows(torch.randn(5, 4))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_of_numbers(dtype: torch.dtype) -> None:
    model = sparse(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)), 0.1).to(dtype)
    fast = demitasse.optimize(model, torch.randn(1, 3, 8, 8, dtype=dtype))
    x = torch.randn(4, 3, 8, 8, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=2e-2, atol=2e-2)


def test_odd_modules() -> None:
    agree(conv := nn.Conv2d(3, 4, 3).eval(), demitasse.optimize(conv, torch.randn(3, 8, 8)), torch.randn(3, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # there is nothing to initialize
        empty = nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 6), nn.Linear(6, 50)).eval()
    agree(empty, demitasse.optimize(sparse(empty, 0.05), torch.randn(2, 4)), torch.randn(3, 4))
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    q, k = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    agree(attention, demitasse.optimize(attention, (q, k, k)), q, k, k)


def test_one_channel_and_several_images() -> None:
    pooled = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.MaxPool2d(2))
    model = sparse(pooled, 0.05)
    fast = demitasse.optimize(model, torch.randn(1, 1, 28, 28))
    agree(model, fast, torch.randn(4, 1, 28, 28))
    first = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(1, 64, 3), nn.Conv2d(64, 64, 3))
    fast = demitasse.optimize(sparse(first, 0.05), torch.randn(1, 1, 29, 31))
    agree(first, fast, torch.randn(5, 1, 29, 31))


def test_neither_the_model_nor_the_example_changes() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.relu_()

    x = torch.randn(2, 3)
    kept = x.clone()
    demitasse.optimize(InPlace().eval(), x)
    assert torch.equal(x, kept)
    counter = Count().eval()
    with pytest.raises(UsageError):
        demitasse.optimize(counter, x)
    assert counter.calls == 0


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
def test_an_interrupted_run_leaves_nothing_waiting(tmp_path: Path) -> None:
    code = """
import signal, time, torch, demitasse
from torch import nn
model = nn.Sequential(nn.Conv2d(8, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1)).eval()
with torch.no_grad():
    for weight in (p for p in model.parameters() if p.ndim > 1):
        weight.mul_(torch.rand_like(weight) < 0.02)
x = torch.randn(1, 8, 6, 6)
torch.set_num_threads(3)
fast = demitasse.optimize(model, x)
expected = fast(x)
class Stop(Exception): pass
def stop(*_): raise Stop
signal.signal(signal.SIGALRM, stop)
stopped, end = 0, time.monotonic() + 4
while time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.001 * (stopped % 7))
        while True:
            fast(x)
    except Stop:
        stopped += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert stopped > 20, stopped
assert torch.equal(fast(x), expected)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=100, cwd=tmp_path)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users")
def test_without_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert all(folder.is_absolute() for folder in folders())


class Count(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2


class Strided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.as_strided((2, 2), (1, 2))


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_wrong_use() -> None:
    x = torch.randn(1, 1, 28, 28)
    with pytest.raises(UsageError, match=r"LeNet5 is in training mode; call model\.eval\(\) first"):
        demitasse.optimize(MODELS["lenet5"](), x)
    with pytest.raises(UsageError, match="needs an example of the input of LeNet5"):
        demitasse.optimize(MODELS["lenet5"]().eval())
    with pytest.raises(UsageError, match="LeNet5 cannot be run on the example: "):
        demitasse.optimize(MODELS["lenet5"]().eval(), torch.randn(1, 3, 28, 28))
    with pytest.raises(UsageError, match=r"optimize takes a module, a Caffe net or a \.demi file; found a function"):
        demitasse.optimize(lambda x: x, x)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"keep is a text; expected names of blobs: keep=\['ip'\]"):
        demitasse.optimize("net.demi", keep="ip")
    half = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    half[1].train()
    with pytest.raises(UsageError, match="Sequential: '1' is in training mode"):
        demitasse.optimize(half, torch.randn(1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(nn.Linear(2, 2).eval())
    with pytest.raises(UsageError, match="scripted or traced"):
        demitasse.optimize(scripted, torch.randn(1, 2))
    fast = demitasse.optimize(nn.Linear(2, 2).eval(), torch.randn(1, 2))
    with pytest.raises(UsageError, match="cannot be pickled; save the model itself"):
        pickle.dumps(fast)
    with pytest.raises(UsageError, match="an optimized module has no parameters"):
        fast.state_dict()
    with pytest.raises(UsageError, match="batch is 0; expected a positive whole number"):
        fast.report(0)
    with pytest.raises(UsageError, match="keep names blobs of a Caffe net"):
        demitasse.optimize(MODELS["lenet5"]().eval(), x, keep=["conv1"])
    with pytest.raises(UsageError, match="Count changes its buffer 'calls' in evaluation"):
        demitasse.optimize(Count().eval(), x)
    with pytest.raises(UsageError, match="Strided calls as_strided, which depends on how tensors lie in memory"):
        demitasse.optimize(Strided().eval(), x)
    with pytest.raises(UsageError, match=r"torch\.export cannot read Branch: .*depends on the values of tensors"):
        demitasse.optimize(Branch().eval(), x)


class Collecting(nn.Module):
    """A module that takes any arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        return self.linear(sum([*rows, *named.values()]))


def test_batches_of_any_size_by_collected_names() -> None:
    model, rows = Collecting().eval(), torch.randn(5, 64)
    fast = demitasse.optimize(model, {"first": rows[:1], "second": rows[:1]})
    agree(model, fast, first=rows, second=rows)
    assert "forward" not in vars(model)
    agree(model, demitasse.optimize(model, (rows[:2], rows[:2])), rows, rows)


class Negative(nn.Module):
    """Gives a layer a view whose memory has the opposite of its values."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = sparse(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8)))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(torch.fft.fft(rows).conj().imag)


def test_views_of_opposite_values() -> None:
    model, rows = sparse(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))), torch.randn(4, 64)
    fast = demitasse.optimize(model, rows)
    for _ in range(2):
        agree(model, fast, torch._neg_view(rows))
        agree(model, fast, rows)
        agree(model, fast, torch.complex(rows, rows).conj().imag)
    inside = Negative().eval()
    agree(inside, demitasse.optimize(inside, rows), rows)


def test_what_torch_export_says_stays_out_of_sight(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="cannot be run on the example: mat1 and mat2 shapes"):
        demitasse.optimize(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).eval(), torch.randn(1, 15))
    with pytest.raises(UsageError, match=r"input of shape \[0, 16\]; expected a batch of 1 or more"):
        demitasse.optimize(nn.Linear(16, 4).eval(), torch.randn(0, 16))
    assert capfd.readouterr() == ("", "")


def test_shallow_copies_and_states() -> None:
    model, rows = nn.Linear(8, 8).eval(), torch.randn(2, 8)
    fast = demitasse.optimize(model, rows)
    agree(model, copy.copy(fast), rows)
    with pytest.raises(UsageError, match="has no parameters"):
        fast.load_state_dict(model.state_dict())
