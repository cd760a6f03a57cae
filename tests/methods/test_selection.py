"""Which parameters are chosen, and what is said of patterns that choose nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from demitasse.errors import MethodError
from demitasse.methods.selection import Pattern, assign, named_parameters, select
from tests.methods.playground import Net, net


def names(model: nn.Module, parameters: list[Pattern] | None = None, exclude: list[Pattern] | None = None) -> list[str]:
    return [item.name for item in select(model, parameters, exclude or []).chosen]


def test_by_default_weights_of_linear_and_convolution_layers() -> None:
    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(2, 2, 3),
            "up": nn.ConvTranspose2d(2, 4, 3),
            "norm": nn.LayerNorm(4),
            "embedding": nn.Embedding(5, 4),
            "attention": nn.MultiheadAttention(4, 2),
            "lstm": nn.LSTM(4, 4),
            "fc": nn.Linear(4, 2),
        }
    )
    assert names(model) == [
        *("conv.weight", "up.weight", "attention.in_proj_weight", "attention.out_proj.weight", "fc.weight")
    ]
    axes = {item.name: item.channel_axis for item in select(model).chosen}
    assert axes["up.weight"] == 1
    assert axes["conv.weight"] == axes["fc.weight"] == 0


def test_the_rest_stays_dense_with_a_reason() -> None:
    found = {item.name: item.reason for item in select(net(), exclude=["conv"]).dense}
    assert found["conv.weight"] == "excluded"
    assert found["norm.weight"] == found["fc.bias"] == "no weight of a linear or convolution layer"
    assert {item.name: item.reason for item in select(net(), ["fc"]).dense}["conv.weight"] == "not chosen"


def test_conv1d_of_hugging_face() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra huggingface is not installed")
    model = nn.Sequential(transformers.pytorch_utils.Conv1D(6, 4))
    (item,) = select(model).chosen
    assert (item.name, item.channel_axis, tuple(item.parameter.shape)) == ("0.weight", 1, (4, 6))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["fc"], ["fc.weight"]),
        (["fc.weight"], ["fc.weight"]),
        (["fc.*"], ["fc.weight", "fc.bias"]),
        (["*"], ["conv.weight", "fc.weight"]),
        (["c*"], ["conv.weight"]),
        (["*.bias"], ["conv.bias", "norm.bias", "fc.bias"]),
        (["*.weight"], ["conv.weight", "norm.weight", "fc.weight"]),
        ([nn.Linear], ["fc.weight"]),
        ([nn.BatchNorm2d], ["norm.weight"]),
        ([nn.Conv2d, "fc.bias"], ["conv.weight", "fc.bias"]),
    ],
)
def test_patterns(patterns: list[Pattern], expected: list[str]) -> None:
    assert names(net(), patterns) == expected


def test_a_pattern_of_a_deep_module_takes_all_weights_below_a_star() -> None:
    model = nn.ModuleDict({"block": nn.ModuleDict({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)})})
    assert names(model, ["block*"]) == ["block.one.weight", "block.two.weight"]
    assert names(model, ["block.*"], ["*two"]) == ["block.one.weight"]


def test_a_single_pattern_is_not_read_letter_by_letter() -> None:
    assert [item.name for item in select(net(), "fc").chosen] == ["fc.weight"]


def test_a_module_without_parts() -> None:
    assert names(nn.Linear(2, 2)) == ["weight"]
    assert names(nn.Linear(2, 2), ["bias"]) == ["bias"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["cnov"],), r"parameters: 'cnov' matches no parameter; did you mean 'conv'\?"),
        ((["fc.wieght"],), r"did you mean 'fc\.weight'\?"),
        (([nn.LSTM],), r"parameters: type LSTM matches no parameter; known: BatchNorm2d, Conv2d, Linear"),
        ((None, ["fcc"]), r"exclude: 'fcc' matches no parameter; did you mean 'fc'"),
        ((None, ["*"]), r"no parameter is chosen"),
    ],
)
def test_a_pattern_that_matches_nothing(arguments: tuple[list[Pattern] | None, list[Pattern]], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        select(net(), *arguments)


def test_a_parameter_without_a_shape() -> None:
    with pytest.raises(MethodError, match=r"0\.weight has no shape yet; run a batch through the model first"):
        select(nn.Sequential(nn.LazyLinear(3)))


def test_tied_parameters_are_found_by_every_name() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(7, 4), "body": nn.Linear(4, 4), "head": nn.Linear(4, 7)})
    model["head"].weight = model["embedding"].weight
    assert names(model) == ["embedding.weight", "body.weight"]
    assert names(model, ["head"]) == ["embedding.weight"]
    assert names(model, exclude=["head"]) == ["body.weight"]


def test_wrappers_leave_no_trace_in_names() -> None:
    class DistributedDataParallel(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

    model = net()
    plain = list(named_parameters(model))
    wrapped = [
        AveragedModel(model),
        torch.compile(model, backend="eager"),
        DistributedDataParallel(model),
        torch.compile(DistributedDataParallel(model), backend="eager"),
    ]
    for one in wrapped:
        assert list(named_parameters(one)) == plain
        assert names(one) == ["conv.weight", "fc.weight"]
    inner = copy.deepcopy(model)
    inner.fc = torch.compile(inner.fc, backend="eager")  # type: ignore[assignment]
    assert list(named_parameters(inner)) == plain


def test_a_module_called_module_is_no_wrapper() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = Net()

    assert names(Holder()) == ["module.conv.weight", "module.fc.weight"]


def test_assign_takes_the_first_pattern_that_matches() -> None:
    chosen = select(net()).chosen
    assert assign(chosen, 0.5) == {"conv.weight": 0.5, "fc.weight": 0.5}
    assert assign(chosen, {"fc": 0.9, "*": 0.1}) == {"conv.weight": 0.1, "fc.weight": 0.9}
    assert assign(chosen, {nn.Linear: 2}) == {"fc.weight": 2.0}
