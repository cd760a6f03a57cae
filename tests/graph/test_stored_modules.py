"""PyTorch modules that are saved with their graph, and computed without their code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import demitasse
from demitasse.errors import FileFormatError, UsageError
from demitasse.formats.packing import pack, unpack
from demitasse.graph.allowed import ALLOWED, WORDS
from demitasse.graph.calling import function_named
from demitasse.graph.pytorch.module import Exported
from demitasse.graph.pytorch.stored import read_exported
from demitasse.graph.stored import HIDDEN, KEY
from demitasse.packed.file import File
from demitasse.runtime import OptimizedModule
from demitasse.zoo.models import MODELS
from tests.runtime.playground import agree, sparse
from tests.runtime.test_optimize import Block


class Inverted(nn.Module):
    """A block of MobileNet v2."""

    def __init__(self, channels: int = 8, wide: int = 48) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(inplace=True),
            nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        found, weights = self.attention(self.norm(x), y, y)
        return x + found, weights


class Tied(nn.Module):
    """A small language model whose output weights are its embeddings, and whose mask is no part of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.places = nn.Embedding(8, 16)
        self.inner = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.head = nn.Linear(16, 20, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.full((8, 8), float("-inf")).triu(1), persistent=False)

    def forward(self, words: Tensor) -> Tensor:
        length = words.shape[1]
        x = self.words(words) + self.places(torch.arange(length, device=words.device))
        return self.head(self.inner(x, self.mask[:length, :length]))


class Several(nn.Module):
    """Takes and returns tensors and numbers in tuples, lists and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: dict[str, Tensor], ids: list[Tensor], *, scale: float = 2.0, flag: bool | None = None) -> Any:
        y = self.linear(x["a"]) * scale + x["b"].sum()
        z = torch.where(ids[0] > 2, ids[0], ids[1])
        return {"y": y, "z": [z, (z.float().mean(1), torch.tensor([1, 2]))], "none": flag, "three": 3}


class Case(NamedTuple):
    """A module, an example, and the arguments for another batch."""

    model: nn.Module
    example: Any
    other: Any


def images(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(1, *shape), torch.randn(3, *shape)


def several(batch: int) -> dict[str, Any]:
    ids = [torch.randint(0, 5, (batch, 3)) for _ in range(2)]
    return {"x": {"a": torch.randn(batch, 8), "b": torch.randn(batch)}, "ids": ids, "scale": 3.0}


def cases() -> dict[str, Case]:
    torch.manual_seed(0)
    pairs = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    found = {
        "lenet5": Case(MODELS["lenet5"](), *images(1, 28, 28)),
        "resnet20": Case(MODELS["resnet20"](), *images(3, 32, 32)),
        "squeezenet": Case(MODELS["squeezenet"](), *images(3, 67, 67)),
        "mobilenet block": Case(nn.Sequential(Inverted(), Inverted()), *images(8, 9, 9)),
        "block": Case(Block(), *images(3, 16, 16)),
        "gpt": Case(MODELS["gpt"](), torch.randint(0, 50, (2, 16)), torch.randint(0, 50, (3, 16))),
        "tied": Case(Tied(), torch.randint(0, 20, (2, 6)), torch.randint(0, 20, (5, 6))),
        "attention": Case(Attention(), pairs, tuple(each[:1] for each in pairs)),
        "several": Case(Several(), several(2), several(4)),
        "one layer": Case(nn.Linear(4, 3).double(), torch.randn(2, 4).double(), torch.randn(5, 4).double()),
    }
    return {name: case._replace(model=sparse(case.model, 0.5)) for name, case in found.items()}


CASES = cases()


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, dict):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def text_in(path: Path) -> str:
    with File(path) as file:
        return file.header.metadata[KEY]


def leaves(found: object) -> list[object]:
    return torch.utils._pytree.tree_leaves(found)


@pytest.mark.parametrize("name", CASES)
def test_it_computes_what_the_module_computes(name: str, tmp_path: Path) -> None:
    model, example, other = CASES[name]
    size = demitasse.save(model, tmp_path / "model.demi", example=example)
    assert size == (tmp_path / "model.demi").stat().st_size
    fast = demitasse.optimize(tmp_path / "model.demi")
    assert isinstance(fast, OptimizedModule)
    for given in (example, other):
        args, kwargs = arguments(given)
        with torch.no_grad():
            expected, found = model(*args, **kwargs), fast(*args, **kwargs)
        structures = [torch.utils._pytree.tree_structure(each) for each in (expected, found)]
        assert structures[0] == structures[1]
        for left, right in zip(leaves(found), leaves(expected), strict=True):
            if isinstance(right, Tensor):
                torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)
            else:
                assert left == right


@pytest.mark.parametrize("name", CASES)
def test_the_state_is_what_it_is_without_the_graph(name: str, tmp_path: Path) -> None:
    model, example, _ = CASES[name]
    demitasse.save(model, tmp_path / "model.demi", example=example)
    state = demitasse.load(tmp_path / "model.demi")
    assert state.keys() == model.state_dict().keys()
    demitasse.load(tmp_path / "model.demi", into=model)
    with demitasse.open(tmp_path / "model.demi") as file:
        assert set(file) == set(file.shapes) | ({"head.weight"} & state.keys()) == state.keys()
        assert len(file) == len(state)
        with pytest.raises(KeyError):
            file[f"{HIDDEN}mask"]


def test_a_small_net_stays_small(tmp_path: Path) -> None:
    model, example, _ = CASES["lenet5"]
    sizes = [demitasse.save(model, tmp_path / "model.demi", example=each) for each in (None, example)]
    assert sizes[1] - sizes[0] <= 130
    found = json.loads(text_in(tmp_path / "model.demi"))
    assert found["inputs"] == {"images": ["n", 1, 28, 28]}
    assert found["steps"][:2] == [["Convolution", "conv1"], ["Pooling", {"kernel": 2, "ceil_mode": False}]]


def test_constants_that_are_no_part_of_the_state(tmp_path: Path) -> None:
    model, example, _ = CASES["tied"]
    demitasse.save(model, tmp_path / "model.demi", example=example)
    with File(tmp_path / "model.demi") as file:
        assert [name for name in file.names if name.startswith(HIDDEN)] == [f"{HIDDEN}mask"]
        assert "head.weight" in file.header.aliases
    assert unpack(tmp_path / "model.demi", tmp_path / "model.pt") == [KEY]
    assert unpack(tmp_path / "model.demi", tmp_path / "model.safetensors") == [KEY]
    assert demitasse.load(tmp_path / "model.safetensors").keys() == model.state_dict().keys()


def test_the_graph_survives_other_formats_that_have_metadata(tmp_path: Path) -> None:
    model, example, other = CASES["lenet5"]
    demitasse.save(model, tmp_path / "model.demi", example=example)
    assert unpack(tmp_path / "model.demi", tmp_path / "model.safetensors") == []
    pack(tmp_path / "model.safetensors", tmp_path / "again.demi")
    agree(model, demitasse.optimize(tmp_path / "again.demi"), other)


def test_a_graph_of_a_pruned_net_is_computed_from_sparse_weights(tmp_path: Path) -> None:
    model = sparse(MODELS["lenet5"](), 0.03)
    demitasse.save(model, tmp_path / "model.demi", example=torch.randn(1, 1, 28, 28))
    fast = demitasse.optimize(tmp_path / "model.demi")
    assert isinstance(fast, OptimizedModule)
    assert {layer.kernel for layer in fast.report().layers if layer.total} == {"sparse"}
    assert [layer.name for layer in fast.report().layers if layer.total] == ["conv1", "conv2", "fc1", "fc2"]
    agree(model, fast, torch.randn(1, 1, 28, 28))


def test_arguments_are_checked(tmp_path: Path) -> None:
    demitasse.save(CASES["several"].model, tmp_path / "model.demi", example=several(2))
    fast = demitasse.optimize(tmp_path / "model.demi")
    for change, message in (
        ({"scale": 2.0}, "argument scale is 2.0; expected 3.0, as in the example"),
        ({"ids": torch.zeros(2, 3)}, "found 0 arguments and x, ids, scale by name; expected 0 arguments"),
        ({"ids": [torch.zeros(2, 3)] * 2}, "is a torch.strided tensor of torch.float32; expected torch.int64"),
        ({"ids": [torch.zeros(2, 4, dtype=torch.int64)] * 2}, r"has shape \[2, 4\]; expected \['n', 3\], as in the ex"),
        ({"x": {"a": torch.zeros(2, 8), "b": torch.zeros(2, 1)}}, r"has shape \[2, 1\]; expected \['n'\]"),
    ):
        with pytest.raises(UsageError, match=message):
            fast(**{**several(2), **change})


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


class Point(NamedTuple):
    x: Tensor
    y: Tensor


class Named(nn.Module):
    def forward(self, x: Tensor) -> Point:
        return Point(x + 1, x - 1)


class Scalars(nn.Module):
    def forward(self, x: Tensor, by: complex) -> Tensor:
        return x + abs(by)


class Values(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.nonzero()


def test_what_cannot_be_saved_with_its_graph(tmp_path: Path) -> None:
    path, x = tmp_path / "model.demi", torch.randn(2, 3)
    for model, example, message in (
        (
            Noise(),
            x,
            "Noise cannot be stored with its graph: 'rand_like': it calls aten.rand_like.default; expec",
        ),
        (Named(), x, "Named cannot be stored with its graph: the module returns a namedtuple; expected"),
        (Values(), x, "'nonzero': it calls aten.nonzero.default; expected one of the functions that a file may call"),
        (nn.Sequential(nn.Linear(3, 2).train()), x, "Sequential(: '0')? is in training mode"),
        (nn.Linear(3, 2), torch.randn(2, 4), "Linear cannot be run on the example"),
    ):
        with pytest.raises(UsageError, match=message):
            demitasse.save(model if "training" in message else model.eval(), path, example=example)
    linear = nn.Linear(3, 2).eval()
    with pytest.raises(UsageError, match="model is a OrderedDict; expected a module"):
        demitasse.save(linear.state_dict(), path, example=x)
    with pytest.raises(UsageError, match=r"\.safetensors files do not support example; expected a .demi file"):
        demitasse.save(linear, tmp_path / "model.safetensors", example=x)
    with pytest.raises(UsageError, match="metadata 'graph': the key is that of the graph"):
        demitasse.save(linear, path, example=x, metadata={KEY: ""})
    with pytest.raises(UsageError, match="name 'graph:x' begins like those of the constants of a graph"):
        demitasse.save({"graph:x": x}, path)
    assert not path.exists()


def test_a_file_of_a_module_takes_no_names_of_blobs(tmp_path: Path) -> None:
    demitasse.save(nn.Linear(3, 2).eval(), tmp_path / "model.demi", example=torch.randn(2, 3))
    with pytest.raises(UsageError, match=r"model\.demi: contains a PyTorch module; keep names blobs of a Caffe net"):
        demitasse.optimize(tmp_path / "model.demi", keep=["x"])


def test_results_of_other_mappings_are_dicts(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    settings = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    model = transformers.BertModel(settings).eval()
    words = torch.randint(0, 50, (2, 7))
    demitasse.save(model, tmp_path / "model.demi", example=words)
    found = demitasse.optimize(tmp_path / "model.demi")(torch.cat([words, words]))
    assert type(found) is dict
    with torch.no_grad():
        expected = model(torch.cat([words, words]))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_what_a_file_may_call_is_pure(name: str) -> None:
    function = function_named(name)
    if not isinstance(function, torch._ops.OpOverload):
        return
    assert str(function) == name
    assert not function._schema.is_mutable
    # attention draws at random only what it is told to drop, and indices are refused if they are masks
    tags = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output, torch.Tag.nondeterministic_seeded}
    assert not tags & set(function.tags) or name in ("aten.scaled_dot_product_attention.default", "aten.index.Tensor")
    texts = [each.name for each in function._schema.arguments if "str" in str(each.type)]
    assert set(texts) <= {"padding", "rounding_mode", "approximate", "indexing", "mode"}


def test_words_are_of_torch() -> None:
    for word in WORDS:
        if word.startswith("torch."):
            found = getattr(torch, word.removeprefix("torch."))
            assert isinstance(found, torch.dtype | torch.layout | torch.memory_format)


GOOD = {
    "inputs": {"x": ["n", 3]},
    "steps": [
        ["InnerProduct", "fc"],
        ["aten.gelu.default", ["%1"], ["n", 4]],
        ["aten.mul.Tensor", ["%2", "&s"], ["n", 4]],
    ],
    "results": {"dict": {"y": 3}},
}
TENSORS = {"fc.weight": torch.ones(4, 3), "fc.bias": torch.ones(4), "s": torch.tensor(2.0)}


def changed(**parts: object) -> str:
    return json.dumps({**GOOD, **parts})


def steps(*more: list[object]) -> str:
    return changed(steps=[*GOOD["steps"], *more])


BAD = {
    "a function that is none": (
        steps(["aten.gelu_.default", ["%1"]]),
        "step 3: the function 'aten.gelu_.default'; exp",
    ),
    "a function of files": (
        steps(["aten.from_file.default", ["&s"]]),
        "the function 'aten.from_file.default'; expec",
    ),
    "code": (steps(["builtins.eval", ["%1"]]), "the function 'builtins.eval'; expected one that a file may call"),
    "another overload": (steps(["aten.add.out", ["%1", "%2"]]), "the function 'aten.add.out'"),
    "a word": (
        steps(["aten.gelu.default", ["%1"], [2, 4], {"approximate": "rm"}]),
        "'gelu_4': found 'rm'; expected on",
    ),
    "a later value": (
        steps(["aten.relu.default", ["%4"], [2, 4]]),
        "found value 4; expected the number of a value before",
    ),
    "no number": (steps(["aten.relu.default", ["%x"], [2, 4]]), "found '%x'; expected the number of a value"),
    "an unknown tensor": (steps(["aten.relu.default", ["&t"], [2, 4]]), "there is no tensor 't'"),
    "a huge number": (steps(["aten.add.Tensor", ["%1", 1 << 70], [2, 4]]), "expected a number of 64 bits"),
    "an object": (steps(["aten.relu.default", [{"x": 1}], [2, 4]]), "found {'x': 1}; expected an argument"),
    "deep lists": (steps(["aten.relu.default", [[[[[[1]]]]]], [2, 4]]), "lists in lists in lists; expected fewer"),
    "another shape": (
        steps(["aten.relu.default", ["%1"], [2, 5]]),
        r"found shape \[2, 5\]; expected \[2, 4\], whi",
    ),
    "too few arguments": (steps(["aten.add.Tensor", ["%1"], [2, 4]]), "'add_4': add cannot be computed"),
    "shapes that do not fit": (steps(["aten.mm.default", ["%1", "%1"], [2, 4]]), "'mm_4': mm cannot be computed"),
    "much memory": (steps(["aten.zeros.default", [[1 << 40]], []]), "'zeros_4': found .* entries; expected at most"),
    "more memory": (
        steps(*[["aten.cat.default", [[f"%{i}", f"%{i}"]], [2 << (i - 2), 4]] for i in range(3, 40)]),
        "entries; expected at most|a value of shape|found shape",
    ),
    "growing numbers": (
        steps(["aten.sym_size.int", ["%0", 0]], *[["operator.mul", [f"%{i}", f"%{i}"]] for i in range(4, 80)]),
        "a size is .*; expected less than 2",
    ),
    "values that decide sizes": (
        steps(["aten.gt.Scalar", ["%1", 0], [2, 4]], ["aten.index.Tensor", ["%1", ["%4"]], [8]]),
        "'index_5': index cannot be computed",
    ),
    "another device": (steps(["aten.zeros.default", [[2]], [2], {"device": "cuda"}]), "found 'cuda'; expected one of"),
    "whole numbers": (changed(inputs={"x": {"int64": ["n", 3]}}), "step 'fc': found an input of torch.int64; expected"),
    "an unknown type": (changed(inputs={"x": {"object": ["n", 3]}}), "input 'x': found type 'object'"),
    "an unknown size": (changed(inputs={"x": ["n*n", 3]}), r"input 'x': found size 'n\*n'; expected 1 to"),
    "an unknown result": (changed(results=9), "found value 9; expected the number of a value before, less than 4"),
    "a class": (
        changed(results={"Point": [3]}),
        "results: found {'Point'.*expected a number, a list, a tuple or a",
    ),
    "other arguments": (changed(arguments=[[1], {}]), r"arguments: found the inputs \[1\]; expected 1 in order"),
    "a huge hint": (changed(sizes={"n": [1 << 40]}), "sizes: found .* expected up to three whole numbers"),
    "outputs of a Caffe net": (json.dumps({**GOOD, "results": None}), "results: found None; expected a number"),
}


def read(text: str) -> Exported:
    found = read_exported(text, TENSORS, "x.demi")
    assert isinstance(found, Exported)
    return found


@pytest.mark.parametrize("name", BAD)
def test_bad_text(name: str) -> None:
    x = torch.randn(5, 3)
    expected = F.gelu(F.linear(x, TENSORS["fc.weight"], TENSORS["fc.bias"])) * 2
    torch.testing.assert_close(OptimizedModule(read(changed()))(x)["y"], expected)
    text, message = BAD[name]
    with pytest.raises(FileFormatError, match=f"(?s)x.demi: .*({message})"):
        read(text)


def test_a_net_of_caffe_calls_no_functions() -> None:
    text = json.dumps({name: part for name, part in GOOD.items() if name != "results"}).replace('"n"', "2")
    with pytest.raises(FileFormatError, match=r"step 1: the function 'aten.gelu.default'; expected one that"):
        read_exported(text, TENSORS, "x.demi")


def test_memory_is_bounded_for_every_size_of_batches() -> None:
    """A size may grow faster than the batch; without values, the shapes are computed first."""
    grown = [["aten.sym_size.int", ["%0", 0]], *[["operator.mul", [f"%{i}", "%4"]] for i in range(4, 9)]]
    text = steps(*grown, ["aten.zeros.default", [["%9"]], [64]])
    module = OptimizedModule(read(text))
    assert module(torch.randn(2, 3)).keys() == {"y"}
    with pytest.raises(UsageError, match=r"'zeros_10': found .* entries; expected at most"):
        OptimizedModule(read(json.dumps({**json.loads(text), "results": [3, 10]})))(torch.randn(1000, 3))


class Rows(nn.Module):
    """Makes values of two rows, and as many columns as rows, whatever the batch is."""

    def __init__(self) -> None:
        super().__init__()
        self.two = nn.Parameter(torch.randn(2, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x.sin(), self.two * x.mean(), x @ x.t()


def test_values_with_an_axis_of_the_batch_are_told_apart(tmp_path: Path) -> None:
    model, x = Rows().eval(), torch.randn(1, 4)
    demitasse.save(model, tmp_path / "model.demi", example=x)
    for fast in (demitasse.optimize(model, x), demitasse.optimize(tmp_path / "model.demi")):
        assert isinstance(fast, OptimizedModule)
        graph = fast.plan.graph
        assert [number in graph.without_batch for number in graph.outputs.values()] == [False, True, True]
        agree(model, fast, torch.randn(3, 4))


def test_a_shape_that_is_not_the_batch_is_refused() -> None:
    text = steps(["aten.zeros.default", [[2, 3]], ["n", 3]])
    module = OptimizedModule(read(text))
    assert module(torch.randn(2, 3)).keys() == {"y"}
    with pytest.raises(UsageError, match=r"step 'zeros_4': found shape \[2, 3\]; expected \[2, 3\], which it makes"):
        module(torch.randn(5, 3))
