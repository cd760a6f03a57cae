"""Inserts a Split layer for each blob that several layers use, with one top for each, under Caffe's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from demitasse.caffe import schema
from demitasse.caffe.definition.filter import Placed


def insert_splits(net: list[Placed]) -> list[Placed]:
    """Returns the layers, with a Split layer after each layer for each of its tops that is shared.

    Bottoms that no layer makes are left unchanged; the net reports them.
    """
    uses: Counter[tuple[int, int]] = Counter()
    makers: dict[str, tuple[int, int]] = {}
    made_by: dict[tuple[int, int], tuple[int, int]] = {}
    for i, (layer, _) in enumerate(net):
        for j, name in enumerate(layer.bottom):
            if name in makers:
                made_by[i, j] = makers[name]
                uses[makers[name]] += 1
        for j, name in enumerate(layer.top):
            makers[name] = (i, j)
            # a top that is part of the loss counts as one more use
            if j < len(layer.loss_weight) and layer.loss_weight[j]:
                uses[i, j] += 1
    result: list[Placed] = []
    taken: Counter[tuple[int, int]] = Counter()
    for i, (layer, place) in enumerate(net):
        copy = schema.LayerParameter.FromString(layer.SerializeToString())
        for j in range(len(copy.bottom)):
            maker = made_by.get((i, j))
            if maker and uses[maker] > 1:
                number = taken[maker] + _loss_tops(net, maker)
                copy.bottom[j] = f"{_split_name(net, maker)}_{number}"
                taken[maker] += 1
        result.append(Placed(copy, place))
        for j, name in enumerate(layer.top):
            if uses[i, j] > 1:
                result.append(Placed(_split(copy, name, j, uses[i, j]), place))
    return result


def _loss_tops(net: list[Placed], maker: tuple[int, int]) -> int:
    layer, top = net[maker[0]].layer, maker[1]
    return int(top < len(layer.loss_weight) and layer.loss_weight[top] != 0)


def _split_name(net: list[Placed], maker: tuple[int, int]) -> str:
    layer = net[maker[0]].layer
    return f"{layer.top[maker[1]]}_{layer.name}_{maker[1]}_split"


def _split(layer: schema.LayerParameter, top: str, index: int, count: int) -> schema.LayerParameter:
    name = f"{top}_{layer.name}_{index}_split"
    split = schema.LayerParameter(name=name, type="Split", bottom=[top], phase=layer.phase)
    split.top.extend(f"{name}_{k}" for k in range(count))
    if index < len(layer.loss_weight) and layer.loss_weight[index]:
        # the loss weight moves to the first copy
        split.loss_weight.extend([layer.loss_weight[index]] + [0.0] * (count - 1))
        layer.loss_weight[index] = 0
    return split


def without_splits(layers: Iterable[schema.LayerParameter]) -> list[schema.LayerParameter]:
    """Returns copies of the layers as before :func:`insert_splits`, except that moved loss weights are lost."""
    made: dict[str, str] = {}
    result = []
    for layer in layers:
        copy = schema.LayerParameter.FromString(layer.SerializeToString())
        for index, name in enumerate(copy.bottom):
            copy.bottom[index] = made.get(name, name)
        if layer.type == "Split" and list(layer.top) == [f"{layer.name}_{k}" for k in range(len(layer.top))]:
            made.update(dict.fromkeys(layer.top, copy.bottom[0]))
        else:
            result.append(copy)
    return result
