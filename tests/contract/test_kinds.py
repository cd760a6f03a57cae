"""Every kind of step that a file may contain has the shape and the values that its definition says."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.errors import FileFormatError
from demitasse.graph.calls import CALLS
from demitasse.graph.graph import Step
from demitasse.graph.kinds import KINDS


class Case(NamedTuple):
    """A step of a kind, and what it computes of its inputs and weights."""

    inputs: list[Tensor]
    weights: dict[str, Tensor]
    settings: dict[str, object]
    expected: Callable[..., Tensor]


def _rand(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


X = _rand(2, 4, 9, 7)
ROWS = _rand(3, 6)
C = (1, 4, 1, 1)
CASES = {
    "Convolution": Case(
        [X],
        {"weight": _rand(6, 4, 3, 2), "bias": _rand(6)},
        {"stride": 2, "pad": [1, 0]},
        lambda x, weight, bias: F.conv2d(x, weight, bias, 2, (1, 0)),
    ),
    "InnerProduct": Case([ROWS], {"weight": _rand(5, 6)}, {}, F.linear),
    "BatchNorm": Case(
        [X],
        {"mean": _rand(4), "variance": _rand(4).abs() + 0.1},
        {"eps": 0.01},
        lambda x, mean, variance: (x - mean.view(C)) / (variance.view(C) + 0.01).sqrt(),
    ),
    "Scale": Case([X], {"weight": _rand(4)}, {}, lambda x, weight: x * weight.view(C)),
    "Bias": Case([X], {"bias": _rand(4)}, {}, lambda x, bias: x + bias.view(C)),
    "ReLU": Case([X], {}, {"slope": 0.1}, lambda x: F.leaky_relu(x, 0.1)),
    "Clip": Case([X], {}, {"max": 1.0}, lambda x: x.clamp(0, 1)),
    "Eltwise": Case([X, X.flip(0)], {}, {"coeff": [1.0, -2.0]}, lambda x, y: x - 2 * y),
    "Concat": Case([X, X[:, :1]], {}, {}, lambda x, y: torch.cat([x, y], 1)),
    "Flatten": Case([X], {}, {}, lambda x: x.flatten(1)),
    "Reshape": Case([X], {}, {"dims": [0, -1, 7]}, lambda x: x.reshape(2, -1, 7)),
    "GlobalMean": Case([X], {}, {}, lambda x: x.mean((2, 3))),
    "Pooling": Case([X], {}, {"kernel": 2}, lambda x: F.max_pool2d(x, 2, ceil_mode=True)),
    "Softmax": Case([X], {}, {}, lambda x: x.softmax(1)),
    "LRN": Case([X], {}, {"size": 3, "alpha": 0.5}, lambda x: F.local_response_norm(x, 3, 0.5)),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind_has_the_shape_and_the_values_of_its_definition(kind: str) -> None:
    case = CASES[kind]
    shapes = [tuple(each.shape) for each in case.inputs]
    found = KINDS[kind].found(case.settings, shapes, {name: tuple(each.shape) for name, each in case.weights.items()})
    step = Step(kind, kind, list(range(len(shapes))), [len(shapes)], found.settings, dict(case.weights))
    computed, expected = step.call(*case.inputs), case.expected(*case.inputs, *case.weights.values())
    assert found.shape == tuple(computed.shape) == tuple(expected.shape)
    torch.testing.assert_close(computed, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind_refuses_what_does_not_fit(kind: str) -> None:
    case = CASES[kind]
    shapes = [tuple(each.shape) for each in case.inputs]
    weights = {name: tuple(each.shape) for name, each in case.weights.items()}
    with pytest.raises(FileFormatError, match="unknown setting 'nothing'"):
        KINDS[kind].found({**case.settings, "nothing": 1}, shapes, weights)
    with pytest.raises(FileFormatError, match="inputs"):
        KINDS[kind].found(case.settings, [], weights)
    for name in weights:
        with pytest.raises(FileFormatError):
            KINDS[kind].found(case.settings, shapes, {**weights, name: (17, 19)})


def test_every_kind_has_a_function() -> None:
    assert set(KINDS) == set(CALLS) == set(CASES)
