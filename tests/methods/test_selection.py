"""Which parameters are chosen, and what is said of patterns that choose nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

import demitasse
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
    assert found["norm.weight"] == found["fc.bias"] == "not a weight of a linear or convolution layer"
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
        (["*weight*"], ["conv.weight", "norm.weight", "fc.weight"]),
        (["*bias"], ["conv.bias", "norm.bias", "fc.bias"]),
        (["norm"], ["norm.weight"]),
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
        (([1],), r"parameters: 1 is not a pattern; expected a name or a type of module"),
        (([],), "parameters is empty"),
        ((torch.tensor(0.5),), "parameters is a Tensor; expected a list of names and types of modules"),
        ((None, b"fc1"), "exclude is b'fc1'; expected a list of names and types of modules"),
        ((5,), "parameters is 5; expected a list of names and types of modules"),
        ((nn.Sequential(nn.Linear(2, 2)),), "parameters is a Sequential; expected a list of names"),
        ((None, [int]), "exclude: type int is not a pattern"),
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
    assert names(model) == ["body.weight"]
    assert names(model, ["head"]) == ["embedding.weight"]
    assert names(model, ["head.weight"]) == ["embedding.weight"]
    assert names(model, [nn.Embedding]) == names(model, ["embedding"]) == ["embedding.weight"]
    assert names(model, [nn.Linear]) == ["embedding.weight", "body.weight"]
    for pattern in ("head", "head.weight", "embedding", "embedding.weight", nn.Embedding):
        assert names(model, [nn.Linear], [pattern]) == ["body.weight"]
    (dense,) = [item for item in select(model).dense if item.tied]
    assert (dense.name, dense.reason, dense.tied) == ("embedding.weight", "tied to an embedding", ("head.weight",))
    (chosen,) = select(model, ["head"]).chosen
    assert chosen.tied == ("head.weight",)


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_the_head_comes_first_and_its_embedding_stays_dense_all_the_same(kind: type[nn.Module]) -> None:
    model = nn.ModuleDict({"head": nn.Linear(4, 7), "body": nn.Linear(4, 4), "tokens": kind(7, 4)})
    model["tokens"].weight = model["head"].weight
    assert names(model) == ["body.weight"]


def test_weights_tied_among_linear_layers_are_chosen_by_default() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert [(item.name, item.tied) for item in select(model).chosen] == [("0.weight", ("1.weight",))]


def test_gpt2_keeps_its_tokens_dense() -> None:
    transformers = pytest.importorskip("transformers", reason="the extra huggingface is not installed")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, n_positions=8, vocab_size=16)
    model = transformers.GPT2LMHeadModel(config)
    assert [name for name in names(model) if "wte" in name or "wpe" in name or "lm_head" in name] == []
    assert len(names(model)) == 4
    assert names(model, ["lm_head"]) == ["transformer.wte.weight"]


def test_two_parameters_of_the_same_memory_are_refused() -> None:
    model = nn.ModuleDict({"tokens": nn.Embedding(7, 4), "body": nn.Linear(4, 4), "head": nn.Linear(4, 7)})
    model["head"].weight.data = model["tokens"].weight.data
    with pytest.raises(
        MethodError, match=r"head\.weight and tokens\.weight are two parameters that share their memory"
    ):
        select(model)
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


RECURRENT = ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "cell.weight_ih", "cell.weight_hh")


class Speaker(nn.Module):
    """embedding, two recurrent layers in a part, a gate of a module of its own, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 4)
        self.encoder = nn.ModuleDict({"rnn": nn.LSTM(4, 4), "norm": nn.LayerNorm(4), "cell": nn.GRUCell(4, 4)})
        self.gate = nn.Module()
        self.gate.kernel = nn.Parameter(torch.randn(4, 4))
        self.head = nn.Linear(4, 5)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([nn.LSTM], ["encoder.rnn.weight_ih_l0", "encoder.rnn.weight_hh_l0"]),
        (["encoder.rnn"], ["encoder.rnn.weight_ih_l0", "encoder.rnn.weight_hh_l0"]),
        (["*rnn"], ["encoder.rnn.weight_ih_l0", "encoder.rnn.weight_hh_l0"]),
        (["*.cell"], ["encoder.cell.weight_ih", "encoder.cell.weight_hh"]),
        (["*.weight_ih*"], ["encoder.rnn.weight_ih_l0", "encoder.cell.weight_ih"]),
        (["gate"], ["gate.kernel"]),
        (["gate.kernel"], ["gate.kernel"]),
        (["tokens"], ["tokens.weight"]),
        (["*"], ["head.weight"]),
        ([Speaker], ["head.weight"]),
        (
            ["encoder"],
            [
                f"encoder.{name}"
                for name in (*(f"rnn.weight_{w}h_l0" for w in "ih"), "cell.weight_ih", "cell.weight_hh")
            ],
        ),
    ],
)
def test_a_module_stands_for_its_weights(patterns: list[Pattern], expected: list[str]) -> None:
    assert names(Speaker(), patterns) == expected


def test_a_glob_of_weights_takes_recurrent_ones_too() -> None:
    found = names(Speaker(), ["*weight*"])
    assert {"encoder.rnn.weight_ih_l0", "encoder.rnn.weight_hh_l0", "encoder.cell.weight_ih", "head.weight"} <= set(
        found
    )
    assert names(Speaker(), ["*weight*"], ["encoder"]) == ["tokens.weight", "head.weight"]
    assert names(nn.LSTM(2, 2), ["*weight*"]) == ["weight_ih_l0", "weight_hh_l0"]


def test_what_is_around_a_layer_chooses_it() -> None:
    model = nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8), nn.Linear(4, 2))
    inside = [f"0.{name}.weight" for name in ("self_attn.out_proj", "linear1", "linear2")]
    assert names(model, exclude=[nn.TransformerEncoderLayer]) == ["1.weight"]
    assert names(model, [nn.TransformerEncoderLayer]) == ["0.self_attn.in_proj_weight", *inside]
    assert names(model, ["0"]) == ["0.self_attn.in_proj_weight", *inside]
    assert names(model, exclude=[nn.MultiheadAttention]) == [*inside[1:], "1.weight"]


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("style", ["parametrization", "hook"])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_norm_taken_apart_leaves_a_weight_to_prune(kind: str, style: str) -> None:
    torch.manual_seed(0)
    place = nn.utils.parametrizations if style == "parametrization" else nn.utils
    model = nn.Sequential(getattr(place, kind)(nn.Linear(16, 8)), nn.ReLU(), nn.Linear(8, 2))
    leaf = {"weight_norm": ("original1", "weight_v"), "spectral_norm": ("original", "weight_orig")}[kind][
        style == "hook"
    ]
    name = f"0.{'parametrizations.weight.' if style == 'parametrization' else ''}{leaf}"
    assert names(model) == [name, "2.weight"]
    assert names(model, ["0"]) == names(model, ["0.weight"]) == [name]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.75, ramp=3, gamma=0, scope="layer")
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(4, 16)).square().sum().backward()
        optimizer.step()
    model(torch.randn(4, 16))
    assert int((model[0].weight == 0).sum()) == 96
    surgery.finish()
    with pytest.raises(MethodError, match=f"is scaled by {kind}, so that its layer computes with other values; remove"):
        demitasse.IncrementalQuantization(model[0], torch.optim.SGD(model.parameters(), lr=0.1), bits=4)


def test_weights_that_are_computed_otherwise_are_named_with_the_reason() -> None:
    model = nn.utils.parametrizations.orthogonal(nn.Linear(4, 4))
    with pytest.raises(MethodError, match=r"no parameter is chosen.*is computed by _Orthogonal .*which does not keep"):
        select(model)
    pruned = nn.Linear(4, 4)
    prune.l1_unstructured(pruned, "weight", 0.5)
    with pytest.raises(
        MethodError, match=r"weight_orig: is masked by torch\.nn\.utils\.prune; call prune\.remove first"
    ):
        select(pruned)


def test_what_hinders_the_choice_is_said() -> None:
    model = net().requires_grad_(False)
    with pytest.raises(
        MethodError, match=r"no parameter is chosen; .*\(conv\.weight: requires no gradient; fc\.weight: "
    ):
        select(model)


@pytest.mark.parametrize("model", ["net", None, torch.ones(2)])
def test_what_is_no_module(model: object) -> None:
    with pytest.raises(MethodError, match=r"model is .*; expected a torch\.nn\.Module"):
        select(model)  # type: ignore[arg-type]


def test_a_parameter_without_values() -> None:
    with pytest.raises(MethodError, match=r"weight has no values yet \(device meta\)"):
        select(nn.Linear(2, 2, device="meta"))


def test_assign_takes_the_first_pattern_that_matches() -> None:
    chosen = select(net()).chosen
    assert assign(chosen, 0.5) == {"conv.weight": 0.5, "fc.weight": 0.5}
    assert assign(chosen, {"fc": 0.9, "*": 0.1}) == {"conv.weight": 0.1, "fc.weight": 0.9}
    assert assign(chosen, {nn.Linear: 2}) == {"fc.weight": 2.0}
