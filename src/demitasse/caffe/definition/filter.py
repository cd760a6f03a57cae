"""Selects the layers of a net by phase, level and stages, with their include and exclude rules."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from demitasse.caffe import schema
from demitasse.errors import NetError


class Placed(NamedTuple):
    """A layer and its place (``file:line``), for messages."""

    layer: schema.LayerParameter
    place: str


def net_state(
    net: schema.NetParameter, phase: int | None = None, level: int | None = None, stages: Collection[str] = ()
) -> schema.NetState:
    """Returns the NetState of a net: its own ``state``, overridden by the arguments.

    Args:
        net: the NetParameter.
        phase: replaces the net's phase; None keeps it (TEST by default).
        level: replaces the net's level; None keeps it (0 by default). Caffe always replaces it, by 0.
        stages: added to the net's stages, as in Caffe.
    """
    state = schema.NetState.FromString(net.state.SerializeToString())
    if phase is not None:
        state.phase = phase
    if level is not None:
        state.level = level
    state.stage.extend(stages)
    return state


def filter_net(net: schema.NetParameter, places: list[str], state: schema.NetState) -> list[Placed]:
    """Returns the layers that the state selects, in order.

    Raises:
        NetError: a layer has both include and exclude rules.
    """
    kept = []
    for layer, place in zip(net.layer, places, strict=True):
        if layer.include and layer.exclude:
            raise NetError(f"layer {layer.name!r} ({place}): give include or exclude rules, not both")
        if layer.include:
            selected = any(_meets(rule, state) for rule in layer.include)
        else:
            selected = not any(_meets(rule, state) for rule in layer.exclude)
        if selected:
            if not layer.HasField("phase"):
                layer.phase = state.phase
            kept.append(Placed(layer, place))
    return kept


def _meets(rule: schema.NetStateRule, state: schema.NetState) -> bool:
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and all(stage in state.stage for stage in rule.stage)
        and not any(stage in state.stage for stage in rule.not_stage)
    )
