"""Compression without training of whole models."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from io import BytesIO

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import DataError, MethodError
from demitasse.methods import pow2
from demitasse.shrinking import fitting
from tests.methods.playground import Net, net, same, weights


def images(count: int = 96, seed: int = 1) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def calibrated() -> Net:
    """The net with statistics that fit its inputs."""
    model = net()
    demitasse.recalibrate_batch_norm(model, images(256, seed=9).split(64))
    return model.eval()


def distance(model: nn.Module, dense: nn.Module) -> float:
    with torch.no_grad():
        return float((model.eval()(images(200, seed=5)) - dense.eval()(images(200, seed=5))).square().mean())


def test_weights_are_on_the_grid_and_the_outputs_are_near() -> None:
    model, dense = calibrated(), calibrated()
    report = demitasse.shrink(model, images(), bits=4, grid="pow2", per="tensor")
    for weight in (model.conv.weight, model.fc.weight):
        assert pow2.on_grid(weight.detach()).all()
        assert len(weight.detach().abs().unique()) <= 5
    rounded = calibrated()
    with torch.no_grad():
        for weight in (rounded.conv.weight, rounded.fc.weight):
            weight.copy_(pow2.project(weight, pow2.grid(float(weight.abs().max()), 4)))
    assert distance(model, dense) < 0.6 * distance(rounded, dense)
    assert [row.name for row in report.rows] == ["conv.weight", "fc.weight"]


def test_the_loss_falls_with_bits_and_rises_with_zeros() -> None:
    dense = calibrated()
    by_bits, by_sparsity = [], []
    for bits in (2, 3, 4, 5):
        model = calibrated()
        demitasse.shrink(model, images(), bits=bits, grid="pow2")
        by_bits.append(distance(model, dense))
    for sparsity in (0.3, 0.6, 0.9):
        model = calibrated()
        demitasse.shrink(model, images(), sparsity=sparsity)
        by_sparsity.append(distance(model, dense))
    # beyond 4 bits, powers of two only add smaller ones
    assert by_bits[:3] == sorted(by_bits[:3], reverse=True)
    assert by_bits[3] < 1.1 * by_bits[2]
    assert by_sparsity == sorted(by_sparsity)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.93])
def test_zeros_are_counted_exactly(sparsity: float) -> None:
    model = calibrated()
    report = demitasse.shrink(model, images(), sparsity=sparsity)
    zeros = sum(int((weight == 0).sum()) for weight in (model.conv.weight, model.fc.weight))
    assert zeros == round(sparsity * 1476)
    assert report.sparsity == pytest.approx(sparsity, abs=1e-3)
    assert all(row.kept for row in report.rows)


def test_zeros_and_bits_by_layer() -> None:
    model = calibrated()
    conv = model.conv.weight.detach().clone()
    demitasse.shrink(model, images(), sparsity={"fc": 0.5}, bits={"fc": 3}, grid="pow2", per="tensor")
    assert int((model.fc.weight == 0).sum()) >= 720
    assert len(model.fc.weight.detach().abs().unique()) <= 3
    assert torch.allclose(model.conv.weight, conv, atol=1e-4)


def test_a_weight_that_was_pruned_keeps_its_zeros() -> None:
    model = calibrated()
    with torch.no_grad():
        model.fc.weight[:, ::2] = 0
    demitasse.shrink(model, images(), bits=4)
    assert not model.fc.weight[:, ::2].any()
    assert model.fc.weight[:, 1::2].any()


def test_it_is_deterministic() -> None:
    first, second = calibrated(), calibrated()
    for model in (first, second):
        torch.rand(3)  # the state of torch's own generator does not matter
        demitasse.shrink(model, images(), sparsity=0.5, bits=4)
    assert same(first, second)


def batches(kind: str) -> object:
    given = images()
    if kind == "tensor":
        return given
    if kind == "loader":
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(given, torch.zeros(96)), batch_size=64)
    if kind == "generator":
        return (part for part in given.split(64))
    return [{"images": part} for part in given.split(64)]


@pytest.mark.parametrize("kind", ["loader", "generator", "dicts"])
def test_kinds_of_calibration_inputs(kind: str) -> None:
    first, second = calibrated(), calibrated()
    demitasse.shrink(first, batches("tensor"), bits=4)
    report = demitasse.shrink(second, batches(kind), bits=4)
    assert same(first, second)
    assert report.examples == 96


def test_examples_bound_what_is_read() -> None:
    read = []

    def endless() -> Iterator[Tensor]:
        while True:
            read.append(1)
            yield images(40)

    assert demitasse.shrink(calibrated(), endless(), bits=4, examples=100).examples == 100
    assert len(read) == 3


def test_modes_hooks_and_gradients_are_as_before() -> None:
    model = calibrated()
    model.train()
    model.norm.eval()
    model.fc.weight.requires_grad_(False)
    demitasse.shrink(model, images(), bits=4)
    assert model.training
    assert model.conv.training
    assert not model.norm.training
    assert not model.fc.weight.requires_grad
    assert model.conv.weight.requires_grad
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_file_is_small_and_loads_as_it_was() -> None:
    model = calibrated()
    demitasse.shrink(model, images(), sparsity=0.5, bits=3, grid="pow2", per="tensor")
    file = BytesIO()
    assert demitasse.save(model, file, format="demi") < 1500
    assert same(demitasse.load(file.getvalue(), into=net()), model)


@pytest.mark.parametrize(("grid", "sizes"), [("pow2", (500, 650)), ("uniform", (900, 1300))])
def test_the_largest_size_is_met_nearly(grid: str, sizes: tuple[int, int]) -> None:
    model, dense = calibrated(), calibrated()
    errors = []
    for most in sizes:
        model = calibrated()
        report = demitasse.shrink(model, images(), max_bytes=most, grid=grid)  # type: ignore[arg-type]
        assert report.bytes is not None
        assert 0.7 * most <= report.bytes <= most
        errors.append(distance(model, dense))
    assert errors[1] < errors[0]


def test_of_a_file_of_a_size_biases_take_two_bytes_each() -> None:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 5)).eval()
    inputs = torch.randn(40, 3, 14, 14)
    short, whole = copy.deepcopy(dense), copy.deepcopy(dense)
    demitasse.shrink(short, inputs, max_bytes=5000)
    demitasse.shrink(whole, inputs, bits=5)
    for name in ("1.running_mean", "1.running_var", "4.bias"):
        first, second = (model.state_dict()[name] for model in (short, whole))
        assert torch.equal(first, first.bfloat16().float())
        assert not torch.equal(second, second.bfloat16().float())


def test_a_size_that_cannot_be_met_leaves_the_model_as_it_was() -> None:
    model = calibrated()
    before = weights(model)
    with pytest.raises(MethodError, match=r"max_bytes is 100, but even with zeros .* the model is unchanged"):
        demitasse.shrink(model, images(), max_bytes=100)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_by_default_it_says_what_it_chose() -> None:
    report = demitasse.shrink(calibrated(), images())
    assert "bits: 5 on average (the default), grid: uniform (chosen: 0." in str(report)
    assert "of the estimated loss of pow2)" in str(report)
    assert "<table>" in report._repr_html_()
    assert report.as_plain()["rows"]


def test_an_interruption_leaves_the_model_whole() -> None:
    model, dense = calibrated(), calibrated()

    def stop(done: int, total: int, name: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        demitasse.shrink(model, images(), bits=3, grid="pow2", progress=stop)
    assert caught.value.__notes__ == ["shrink: 1 of 2 parameters are compressed, the others are unchanged"]
    assert pow2.on_grid(model.conv.weight.detach()).all()
    assert torch.equal(model.fc.weight, dense.fc.weight)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert distance(model, dense) < 1.0


def test_progress_names_the_layers() -> None:
    told: list[tuple[int, int, str]] = []
    demitasse.shrink(calibrated(), images(), bits=4, progress=lambda *step: told.append(step))
    assert told == [(0, 2, "conv.weight"), (1, 2, "fc.weight")]


class Tied(nn.Module):
    """Two layers with one weight; a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.idle = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(inputs)))


def test_tied_weights_and_layers_without_inputs() -> None:
    torch.manual_seed(0)
    model = Tied()
    idle = model.idle.weight.detach().clone()
    with pytest.warns(UserWarning, match=r"idle\.weight saw no input in the first batch and stays dense"):
        report = demitasse.shrink(model, torch.randn(50, 8), bits=4, grid="pow2")
    assert model.first.weight is model.second.weight
    assert pow2.on_grid(model.first.weight.detach()).all()
    assert torch.equal(model.idle.weight, idle)
    assert [row.name for row in report.rows] == ["first.weight"]


class Sequences(nn.Module):
    """An embedding, an LSTM, a layer of a transformer, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 20)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.block(self.lstm(self.table(tokens))[0]))


def test_recurrent_layers_attention_and_embeddings() -> None:
    torch.manual_seed(0)
    model = Sequences()
    dense = copy.deepcopy(model).eval()
    tokens = torch.randint(0, 20, (40, 9))
    demitasse.shrink(model, tokens, bits=5, grid="pow2")
    small = [
        model.lstm.weight_ih_l0,
        model.lstm.weight_hh_l0,
        model.block.self_attn.in_proj_weight,
        model.block.self_attn.out_proj.weight,
        model.block.linear1.weight,
        model.head.weight,
    ]
    assert all(pow2.on_grid(weight.detach()).all() for weight in small)
    assert torch.equal(model.table.weight, dense.table.weight)
    demitasse.shrink(model, tokens, bits=5, grid="pow2", parameters=["table"])
    assert pow2.on_grid(model.table.weight.detach()).all()
    model.eval()
    with torch.no_grad():
        assert (model(tokens) - dense(tokens)).square().mean() < 0.1 * dense(tokens).var()


class Broken(nn.Module):
    """A net whose second layer gets infinite inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs) / 0)


def test_what_cannot_be() -> None:
    for given, settings, error, message in (
        ([], {}, DataError, "calibration has no examples"),
        (images(0), {}, DataError, "calibration has no examples"),
        (3, {}, MethodError, "calibration is 3; expected a tensor"),
        ([()], {}, MethodError, "empty tuple or list"),
        (torch.zeros(5, 2), {}, MethodError, "the model cannot be run on the calibration inputs"),
        (images(), {"sparsity": 1.5}, MethodError, "sparsity is 1.5; expected a share"),
        (images(), {"bits": 1}, MethodError, "1 bits cannot hold"),
        (images(), {"bits": 4, "max_bytes": 100}, MethodError, "max_bytes with sparsity or bits"),
        (images(), {"max_bytes": 0}, MethodError, "max_bytes is 0; expected 1 or more"),
        (images(), {"grid": "cubic"}, MethodError, "grid is 'cubic'; expected 'pow2' or 'uniform'"),
        (images(), {"per": "row"}, MethodError, "per is 'row'; expected 'tensor' or 'channel'"),
        (images(), {"parameters": ["cnov"]}, MethodError, "matches no parameter"),
    ):
        model = calibrated()
        before = weights(model)
        with pytest.raises(error, match=message):
            demitasse.shrink(model, given, **settings)  # type: ignore[arg-type]
        assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_what_is_not_finite_is_refused_by_name() -> None:
    with pytest.raises(MethodError, match=r"second\.weight: the inputs have NaN or infinite values"):
        demitasse.shrink(Broken(), torch.randn(8, 4), bits=4)
    model = calibrated()
    with torch.no_grad():
        model.fc.weight[0, 0] = float("nan")
    with pytest.raises(MethodError, match=r"the largest weight of fc\.weight is nan"):
        demitasse.shrink(model, images(), bits=4)
    with pytest.raises(MethodError, match=r"has no values yet \(device meta\)"):
        demitasse.shrink(net().to("meta"), images(), bits=4)


def test_a_size_far_from_that_of_the_model_is_met() -> None:
    """Inputs that are always zero, and layers without loss at first, mislead neither the first price nor the next."""
    torch.manual_seed(0)
    inputs = torch.randn(200, 64) * (torch.arange(64) % 4 > 0)
    dense = nn.Sequential(nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 10))
    with torch.no_grad():
        dense[2].weight.mul_(20)  # sure answers, which small errors do not change
    whole = demitasse.save(dense, BytesIO(), format="demi")
    for share in (0.3, 0.15, 0.08):
        model = copy.deepcopy(dense)
        report = demitasse.shrink(model, inputs, max_bytes=int(share * whole))
        assert 0.85 * share * whole < demitasse.save(model, BytesIO(), format="demi") <= share * whole
        assert report.bytes is not None
        assert report.bytes <= share * whole


@pytest.mark.parametrize("factor", [1.0, 20.0, 0.1])
def test_the_price_is_found_in_few_tries(factor: float) -> None:
    """Weights are worth more or less than predicted, and files fall faster with the price."""
    tries = []

    def compressed(price: float) -> int:
        tries.append(price)
        return round(1000 + 50_000 * (factor * price) ** -0.3)

    price, size = fitting.fitted_price(compressed, lambda price: 1000 + 50_000 * price**-0.25, 20_000)
    assert 0.98 * 20_000 <= size <= 20_000
    assert price == tries[-1]
    assert len(tries) <= 3


def test_on_a_uniform_grid_bits_are_an_average() -> None:
    """Layers that matter more get more values, and the whole loses less than with the same number for each."""
    dense = calibrated()
    with torch.no_grad():
        dense.fc.weight.mul_(0.3)  # matters less
    model, equal = copy.deepcopy(dense), copy.deepcopy(dense)
    rows = {row.name: row for row in demitasse.shrink(model, images(), bits=4, grid="uniform").rows}
    demitasse.shrink(equal, images(), bits={"*": 4}, grid="uniform")
    assert distance(model, dense) < distance(equal, dense)
    assert rows["conv.weight"].values > 14
    total = sum(row.entries for row in rows.values())
    assert sum(row.entries * math.log2(row.values + 1) for row in rows.values()) / total < 4.1
