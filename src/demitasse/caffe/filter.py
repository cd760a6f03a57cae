"""Which layers of a net take part: phases, levels, stages, include and exclude rules."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from demitasse.caffe import schema
from demitasse.errors import NetError


class Placed(NamedTuple):
    """A layer and where it stands (``file:line``), for messages."""

    layer: schema.Message
    place: str


def filter_net(net: schema.Message, places: list[str], phase: int, level: int, stages: Collection[str]) -> list[Placed]:
    """Returns the layers that the state selects, in order.

    Raises:
        NetError: a layer has both include and exclude rules.
    """
    kept = []
    for layer, place in zip(net.layer, places, strict=True):
        if layer.include and layer.exclude:
            raise NetError(f"layer {layer.name!r} ({place}): give include or exclude rules, not both")
        if layer.include:
            selected = any(_meets(rule, phase, level, stages) for rule in layer.include)
        else:
            selected = not any(_meets(rule, phase, level, stages) for rule in layer.exclude)
        if selected:
            if not layer.HasField("phase"):
                layer.phase = phase
            kept.append(Placed(layer, place))
    return kept


def _meets(rule: schema.Message, phase: int, level: int, stages: Collection[str]) -> bool:
    return (
        (not rule.HasField("phase") or rule.phase == phase)
        and (not rule.HasField("min_level") or level >= rule.min_level)
        and (not rule.HasField("max_level") or level <= rule.max_level)
        and all(stage in stages for stage in rule.stage)
        and not any(stage in stages for stage in rule.not_stage)
    )
