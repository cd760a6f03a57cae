"""Graphs that an attacker writes: each is read as what it says, or refused, and takes bounded memory and time."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demitasse.errors import FileFormatError, UsageError
from demitasse.graph.allowed import ALLOWED, WORDS
from demitasse.graph.graph import Graph
from demitasse.graph.kinds import KINDS
from demitasse.graph.pytorch.stored import read_exported
from demitasse.graph.stored import read_graph
from demitasse.runtime import OptimizedModule
from demitasse.runtime.plan import plan_of

NET = {
    "name": "net",
    "inputs": {"data": [2, 4, 9, 9]},
    "steps": [
        ["Convolution", "conv", {"pad": 1}],
        ["BatchNorm", "bn", {"eps": 0.001}],
        ["Scale", "scale"],
        ["ReLU", "relu", {"slope": 0.1}],
        ["Pooling", "pool", {"kernel": 3, "stride": 2, "pad": 1}],
        ["Convolution", "twice", "conv", [5], {"stride": [1, 2], "pad": [1, 2]}],
        ["Pooling", "mean", [5], {"method": "AVE", "kernel": [5, 5], "stride": 1}],
        ["Reshape", "flat", {"dims": [0, -1]}],
        ["InnerProduct", "ip"],
        ["Clip", "clip", {"min": -1, "max": 3}],
        ["LRN", "lrn", [5], {"size": 3, "alpha": 0.5}],
        ["Eltwise", "sum", [11, 5], {"coeff": [1, -1]}],
        ["Concat", "both", [5, 12]],
        ["Softmax", "prob", [10]],
    ],
    "outputs": {"prob": 14, "both": 13},
}
NET_TENSORS = {
    name: np.full(shape, 0.5, np.float32)
    for name, shape in {
        "conv.0": (4, 4, 3, 3), "conv.1": (4,), "bn.0": (4,), "bn.1": (4,), "bn.2": (1,), "scale.0": (4,),
        "ip.0": (3, 4),
    }.items()
}  # fmt: skip
MODULE = {
    "name": "module",
    "inputs": {"x": ["n", 4], "ids": {"int64": ["n", 3]}, "scale": 2.0},
    "sizes": {"n": [2, 2, 1000]},
    "arguments": [[0, 1], {"scale": 2}],
    "steps": [
        ["aten.sym_size.int", ["%0", 0]],
        ["InnerProduct", "fc", [0]],
        ["aten.embedding.default", ["&table", "%1"], [2, 3, 5]],
        ["aten.reshape.default", ["%5", ["%3", -1]], [2, 15]],
        ["aten.cat.default", [["%4", "%6"], 1], [2, 20]],
        ["aten.arange.default", ["%3"], [2], {"device": "cpu", "dtype": "torch.float32"}],
        ["aten.unsqueeze.default", ["%8", 1], [2, 1]],
        ["aten.mul.Tensor", ["%7", "%9"], [2, 20]],
        ["operator.mul", ["%3", 2]],
        ["aten.zeros.default", [["%11", 3]], [4, 3]],
        ["aten.gelu.default", ["%10"], [2, 20], {"approximate": "tanh"}],
        ["aten.split.Tensor", ["%13", 10, 1]],
        ["operator.getitem", ["%14", 0], [2, 10]],
        ["demitasse.constant", ["&table"], [7, 5]],
    ],
    "results": {"tuple": [15, {"dict": {"zeros": 12, "rest": [16]}}]},
}
MODULE_TENSORS = {"fc.weight": torch.ones(5, 4), "fc.bias": torch.ones(5), "table": torch.ones(7, 5)}

NUMBERS = [0, 1, 2, 3, 5, 7, 32, 1000, 65536, 1 << 31, 10**12, 1 << 63, 10**40, -1, -2, 0.5, -0.0, 1e39, 1e308]
NAMES = [
    *sorted(KINDS),
    *sorted(ALLOWED),
    *sorted(WORDS),
    "%0",
    "%3",
    "%99",
    "%-1",
    "&table",
    "&conv.0",
    "inf",
    "nan",
    "n",
]
KEYS = [
    "kernel",
    "stride",
    "pad",
    "weight",
    "bias",
    "factor",
    "axis",
    "dims",
    "device",
    "tuple",
    "dict",
    "float64",
    "x",
]
words = st.sampled_from([*NAMES, *KEYS])
plain = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), words, st.text(max_size=5))
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=6,
)


def places(found: object) -> list[tuple[Any, Any]]:
    """Returns every (container, key) below a value of JSON."""
    if isinstance(found, dict):
        own = [(found, key) for key in found]
    elif isinstance(found, list):
        own = [(found, index) for index in range(len(found))]
    else:
        return []
    return [*own, *(place for container, key in own for place in places(container[key]))]


@st.composite
def mutated(draw: Callable[..., Any], base: dict[str, object]) -> str:
    """Returns the text of a graph of which up to three parts are others, are missing, or stand elsewhere as well."""
    found = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(found) or [(found, "name")]))
        action = draw(st.sampled_from(["other", "other", "near", "missing", "again", "swap"]))
        if action == "other":
            container[key] = draw(values)
        elif action == "near" and isinstance(
            container.get(key) if isinstance(container, dict) else container[key], int
        ):
            container[key] += draw(st.sampled_from([-2, -1, 1, 2]))
        elif action == "missing":
            del container[key]
        elif action == "again" and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        else:
            other, place = draw(st.sampled_from(places(found)))
            container[key] = copy.deepcopy(other[place])
    return json.dumps(found)


def entries(graph: Graph) -> int:
    return sum(math.prod(value.shape) for value in graph.values)


@settings(max_examples=400, deadline=None)
@given(mutated(NET))
def test_nets(text: str) -> None:
    try:
        graph = read_graph(text, {name: torch.from_numpy(array) for name, array in NET_TENSORS.items()}, "x.demi")
    except FileFormatError:
        return
    assert [step.inputs for step in graph.steps if max(step.inputs, default=0) >= step.outputs[0]] == []
    if entries(graph) < 1 << 20:
        batch = {name: torch.ones(graph.values[number].shape) for name, number in graph.inputs.items()}
        found = plan_of(graph).dense(batch)
        for name, number in graph.outputs.items():
            assert tuple(found[name].shape) == graph.values[number].shape


@settings(max_examples=400, deadline=None)
@given(mutated(MODULE))
def test_modules(text: str) -> None:
    try:
        found = read_exported(text, MODULE_TENSORS, "x.demi")
    except FileFormatError:
        return
    if isinstance(found, Graph) or entries(found.graph) >= 1 << 20:
        return
    with contextlib.suppress(UsageError):
        OptimizedModule(found)(torch.ones(3, 4), torch.zeros(3, 3, dtype=torch.int64), scale=2.0)


@pytest.mark.parametrize("base", [NET, MODULE], ids=["net", "module"])
def test_the_graphs_themselves_are_right(base: dict[str, object]) -> None:
    tensors = {name: torch.from_numpy(array) for name, array in NET_TENSORS.items()} | MODULE_TENSORS
    found = read_exported(json.dumps(base), tensors, "x.demi")
    if isinstance(found, Graph):
        assert plan_of(found).dense({"data": torch.ones(2, 4, 9, 9)})["both"].shape == (2, 8, 5, 5)
    else:
        first, rest = OptimizedModule(found)(torch.ones(3, 4), torch.zeros(3, 3, dtype=torch.int64), scale=2.0)
        assert first.shape == (3, 10)
        assert rest["zeros"].shape == (6, 3)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"steps":[]}', "{" * 10_000, '{"inputs":{},"steps":[[]]}'])
def test_texts_that_are_no_graphs(text: str) -> None:
    with pytest.raises(FileFormatError, match=r"x\.demi: metadata 'graph': "):
        read_exported(text, {}, "x.demi")
