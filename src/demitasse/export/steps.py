"""The layers of a plain net as steps: copies and dropout resolved, a normalization and its scale taken as one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from demitasse.caffe.layers import Shape
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.layers.scale import Scale
from demitasse.export.model import Model


@dataclass
class Step:
    """One layer, or two that are one.

    Attributes:
        name: of the layer.
        kind: its type.
        layer: computes it; a Layer with the settings of its type.
        bottoms: names of the blobs that it takes, copies resolved to what they are copies of.
        tops: names of the blobs that it makes.
        shapes: of the bottoms.
        scale: the Scale behind a BatchNorm, where nobody else takes what is between them; or the BatchNorm itself,
            where it scales what it has normalized.
    """

    name: str
    kind: str
    layer: Any
    bottoms: list[str]
    tops: list[str]
    shapes: list[Shape] = field(default_factory=list)
    scale: Scale | BatchNorm | None = None


@dataclass
class Plan:
    """What a net computes, in order.

    Attributes:
        inputs: names of the blobs that are fed.
        steps: the layers.
        outputs: name of output -> name of the blob that it is.
    """

    inputs: list[str]
    steps: list[Step]
    outputs: dict[str, str]


def plan(model: Model) -> Plan:
    """Returns the steps of a model."""
    layers = model.net.named_layers()
    same: dict[str, str] = {}
    steps: list[Step] = []
    for label, spec in zip(model.net.labels, model.net.spec.layer, strict=True):
        if label not in layers:
            continue
        bottoms = [same.get(name, name) for name in spec.bottom]
        for top in spec.top:
            same.pop(top, None)
        if spec.type == "Split":
            same.update(dict.fromkeys(spec.top, bottoms[0]))
            continue
        shapes = [model.net.shapes[name] for name in spec.bottom]
        layer = layers[label]
        scale = layer if isinstance(layer, BatchNorm) and layer.has_bias else None
        steps.append(Step(label, spec.type, layer, bottoms, list(spec.top), shapes, scale))
    outputs = {name: same.get(name, name) for name in model.outputs}
    return Plan(list(model.inputs), _merged(steps, set(outputs.values())), outputs)


def _merged(steps: list[Step], outputs: set[str]) -> list[Step]:
    uses = Counter(name for step in steps for name in step.bottoms)
    result: list[Step] = []
    for step in steps:
        last = result[-1] if result else None
        if last is not None and _belongs(last, step, uses, outputs):
            assert isinstance(step.layer, Scale)
            last.scale, last.tops = step.layer, step.tops
        else:
            result.append(step)
    return result


def _belongs(norm: Step, step: Step, uses: Counter[str], outputs: set[str]) -> bool:
    if not isinstance(norm.layer, BatchNorm) or norm.scale is not None or not isinstance(step.layer, Scale):
        return False
    between, ndim = norm.tops[0], len(step.shapes[0])
    in_place = step.tops[0] == between
    alone = step.bottoms == [between] and (in_place or (uses[between] == 1 and between not in outputs))
    return alone and ndim > 1 and step.layer.expanded == (step.shapes[0][1], *(1,) * (ndim - 2))
