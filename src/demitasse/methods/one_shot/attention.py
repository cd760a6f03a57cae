"""Views of MultiheadAttention, which calls no layers for its projections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.methods.homes import Home
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.methods.one_shot.sampling import EVERY, Sample
from demitasse.methods.one_shot.views import VIEWS, LinearView, View, chunked, tensor_argument

_INPUTS = ("query", "key", "value")
_PROJECTIONS = tuple(f"{name[0]}_proj_weight" for name in _INPUTS)


def _columns(inputs: Tensor) -> Tensor:
    return inputs.reshape(-1, inputs.shape[-1]).t().unsqueeze(0)


@VIEWS.register("attention projection")
class ProjectionView(LinearView):
    """The projection of queries, keys or values, where they have weights of their own."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, nn.MultiheadAttention) and home.role in _PROJECTIONS

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        number = _PROJECTIONS.index(self.home.role)
        inputs = tensor_argument(arguments, named, number, _INPUTS[number])
        if inputs is not None:
            yield _columns(inputs)

    @property
    @override
    def bias(self) -> nn.Parameter | None:
        return None  # it is a part of in_proj_bias


@VIEWS.register("attention projections")
class ProjectionsView(View):
    """in_proj_weight, (3 * rows, columns): a group each for queries, keys and values, whose inputs may differ."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, nn.MultiheadAttention) and home.role == "in_proj_weight"

    @override
    def matrix(self, weight: Tensor) -> Tensor:
        return weight.reshape(3, -1, weight.shape[1])

    @override
    def weight(self, matrix: Tensor, shape: Sequence[int]) -> Tensor:
        return matrix.reshape(*shape)

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        found = [tensor_argument(arguments, named, number, name) for number, name in enumerate(_INPUTS)]
        inputs = [_columns(one) for one in found if one is not None]
        if len(inputs) < 3:
            return
        # sequences of another length count with their mean moments
        most = max(one.shape[2] for one in inputs)
        yield torch.cat([_stretched(one, most) for one in inputs])

    @property
    @override
    def bias(self) -> nn.Parameter | None:
        found = self.home.module.in_proj_bias
        return found if isinstance(found, nn.Parameter) else None


def _stretched(inputs: Tensor, count: int) -> Tensor:
    """Returns this number of columns, the given ones repeated as often as needed."""
    return inputs[:, :, torch.arange(count, device=inputs.device) % inputs.shape[2]]


@VIEWS.register("attention output")
class OutputView(LinearView):
    """The output projection of MultiheadAttention, whose inputs are the heads' results."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        outer = home.within[-2] if len(home.within) > 1 else None
        return home.role == "weight" and isinstance(outer, nn.MultiheadAttention) and outer.out_proj is home.module

    @property
    @override
    def turn(self) -> int:
        return 1

    @property
    @override
    def watched(self) -> nn.Module:
        return self.home.within[-2]

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        attention, layer = self.watched, self.home.module
        assert isinstance(attention, nn.MultiheadAttention)
        assert isinstance(layer, nn.Linear)
        # with an identity as its output projection the module returns what it would project
        weight, bias = layer.weight.data, None if layer.bias is None else layer.bias.data
        try:
            layer.weight.data = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
            if bias is not None:
                layer.bias.data = torch.zeros_like(bias)
            heads = attention.forward(*arguments, **named)[0]  # type: ignore[arg-type]
        finally:
            layer.weight.data = weight
            if bias is not None:
                layer.bias.data = bias
        for part in chunked(heads.reshape(-1, heads.shape[-1]), heads.shape[-1]):
            yield part.t().unsqueeze(0)
