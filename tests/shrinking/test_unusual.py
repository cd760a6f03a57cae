"""Compression without training of unusual models, with unusual inputs and settings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.errors import MethodError
from tests.methods.playground import weights


def inputs(count: int = 64, columns: int = 8, seed: int = 1) -> Tensor:
    return torch.randn(count, columns, generator=torch.Generator().manual_seed(seed))


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def distance(model: nn.Module, dense: nn.Module, given: Tensor) -> float:
    """Returns the squared error of the outputs, relative to their mean square."""
    with torch.no_grad():
        return float((model(given) - dense(given)).square().sum() / dense(given).square().sum())


def shrunk(model: nn.Module, given: Any, **settings: Any) -> dict[str, Tensor]:
    demitasse.shrink(model, given, **settings)
    return weights(model)


@pytest.mark.parametrize("most", [150, 200, 300, 400, 500, 650])
def test_any_size_of_a_tiny_file_is_met(most: int) -> None:
    """Also sizes above what is predicted for a price of nothing, and so small that whole layers become zero."""
    model = small()
    report = demitasse.shrink(model, inputs(), max_bytes=most)
    assert report.bytes == demitasse.save(model, BytesIO(), format="demi")
    assert 0.9 * most < report.bytes <= most


@pytest.mark.filterwarnings("ignore:shrink leaves")
def test_a_layer_of_zeros_leaves_constant_inputs() -> None:
    model = small()
    report = demitasse.shrink(model, inputs(), sparsity=1)
    assert report.sparsity == 1
    assert not model[0].weight.any()
    assert not model[2].weight.any()
    # the biases give the mean outputs
    assert torch.allclose(model(inputs()).mean(0), small()(inputs()).mean(0), atol=1e-5)


def test_bits_above_eight_are_kept() -> None:
    errors = []
    for bits in (7, 8, 9, 10):
        model = small()
        demitasse.shrink(model, inputs(), bits=bits, grid="uniform")
        errors.append(distance(model, small(), inputs()))
    assert all(after < before / 2 for before, after in pairwise(errors)), errors


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, given: Tensor) -> Tensor:
        return self.fc(self.lstm(given)[0])


def test_a_pattern_for_everything_is_one_for_recurrent_layers_too() -> None:
    report = demitasse.shrink(Recurrent(), torch.randn(8, 5, 8), sparsity={"fc": 0.25, "*": 0.5}, bits={"*": 3})
    shares = {row.name: 1 - row.kept / row.entries for row in report.rows}
    assert shares["lstm.weight_ih_l0"] >= 0.5
    assert shares["lstm.weight_hh_l0"] >= 0.5
    assert 0.2 < shares["fc.weight"] < 0.45
    assert all(row.grid for row in report.rows)


class InPlace(nn.Module):
    """Changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, given: Tensor) -> Tensor:
        return self.inner(given.mul_(0.5))


def test_a_model_may_change_its_input_in_place() -> None:
    given = inputs()
    model = InPlace()
    demitasse.shrink(model, given, bits=4)
    assert torch.equal(given, inputs())
    plain = small()
    demitasse.shrink(plain, inputs() / 2, bits=4)
    assert torch.equal(model.inner[0].weight, plain[0].weight)
    assert torch.equal(model.inner[2].weight, plain[2].weight)


@pytest.mark.parametrize(
    "context",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
def test_the_context_of_the_caller_changes_nothing(context: Callable[[], Any]) -> None:
    found = []
    for one in (nullcontext, context):
        model = small()
        with one():
            found.append(shrunk(model, inputs(), sparsity=0.5, bits=4))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


class Autocast(nn.Module):
    """Computes in bfloat16, by its own choice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, given: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(given)


def test_autocast_in_a_model_sees_the_compressed_weights() -> None:
    model, dense = Autocast(), Autocast()
    demitasse.shrink(model, inputs(), bits=3, grid="pow2")
    plain = small()
    demitasse.shrink(plain, inputs(), bits=3, grid="pow2")
    assert distance(model.inner, dense.inner, inputs()) < 1.3 * distance(plain, small(), inputs())


class Divided(nn.Module):
    """The second layer's inputs become infinite when the first one's outputs change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.dense = copy.deepcopy(self.first)

    def forward(self, given: Tensor) -> Tensor:
        found = self.first(given)
        return self.second(found / found.eq(self.dense(given)).all())


def test_an_error_in_a_later_layer_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model = Divided()
    before = weights(model)
    with pytest.raises(MethodError, match=r"second\.weight: the inputs of its layer have NaN or infinite") as caught:
        demitasse.shrink(model, inputs(), bits=3, parameters=["first", "second"])
    assert not hasattr(caught.value, "__notes__")
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())


def test_weights_that_a_norm_scales_stay_dense() -> None:
    for norm in (nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm):
        model = small()
        norm(model[0])
        report = demitasse.shrink(model, inputs(), sparsity=0.5, bits=3)
        assert [row.name for row in report.rows] == ["2.weight"]
        assert any("layer computes with other values; remove" in one.reason for one in report.dense)
        assert "layer computes with other values; remove" in " ".join(str(report).split())


def test_weights_without_entries_stay_as_they_are() -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 0))
    report = demitasse.shrink(model, inputs(), bits=4)
    assert [row.name for row in report.rows] == ["0.weight"]


def with_surgery() -> nn.Module:
    model = small()
    model.surgery = demitasse.Surgery(model, torch.optim.SGD(model.parameters(), lr=0.1), sparsity=0.5)
    return model


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return small()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "given", "settings", "message"),
    [
        (lambda: torch.jit.script(small()), inputs(), {}, "model is a TorchScript module; expected modules in Python"),
        (lambda: nn.Sequential(torch.jit.script(small())), inputs(), {}, "0 is a TorchScript module"),
        (with_surgery, inputs(), {}, r"Surgery of 0\.weight would undo what shrink does; finish that first"),
        (in_inference_mode, inputs(), {}, r"0\.weight was made in inference mode"),
        (small, inputs().to_sparse(), {}, r"a tensor of layout torch\.sparse_coo; expected dense ones"),
        (small, [inputs().to("meta")], {}, "a tensor on the device meta; expected dense ones with values"),
        (small, inputs(), {"sparsity": {"first": 0.5}}, "sparsity: 'first' matches no parameter"),
        (small, inputs(), {"bits": {"*": 4, "secnd": 3}}, "bits: 'secnd' matches no parameter"),
        (small, inputs(), {"sparsity": {0: 0.5}}, "sparsity: 0 is not a pattern"),
        (small, inputs(), {"max_bytes": 300, "size": lambda model: None}, "what size returns is None; expected"),
    ],
)
def test_what_cannot_be_says_why(
    make: Callable[[], nn.Module], given: Any, settings: dict[str, Any], message: str
) -> None:
    model = make()
    with pytest.raises(MethodError, match=message):
        demitasse.shrink(model, given, **(settings or {"bits": 4}))
