"""The bars of a .demi file's picture: what each tensor, or each layer, takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from demitasse.report.inspection import TensorRow

_MOST_BARS = 30


class TensorBar(NamedTuple):
    """Bytes of positions and values of a tensor or a layer, and their entropy, None if it cannot be compared."""

    label: str
    positions: float
    values: float
    entropy: float | None
    total: int


def bars_of(rows: Sequence[TensorRow]) -> list[TensorBar]:
    """Returns a bar for each tensor, or each layer if there are too many, with small layers together if necessary."""
    groups: dict[str, list[TensorRow]] = {}
    for row in rows:
        groups.setdefault(row.name if len(rows) <= _MOST_BARS else row.name.rpartition(".")[0] or row.name, []).append(
            row
        )
    large = sorted(groups, key=lambda name: -sum(row.bytes for row in groups[name]))[: _MOST_BARS - 1]
    if len(groups) > _MOST_BARS:
        rest = [row for name, own in groups.items() if name not in large for row in own]
        groups = {name: own for name, own in groups.items() if name in large}
        return [*(_bar(*group) for group in groups.items()), _bar(f"{len(rest)} others", rest)]
    return [_bar(*group) for group in groups.items()]


def _bar(label: str, rows: Sequence[TensorRow]) -> TensorBar:
    known = all(row.against_entropy is not None or not row.entropy for row in rows)
    return TensorBar(
        label,
        sum(row.positions for row in rows),
        sum(row.values for row in rows),
        sum(row.entropy for row in rows) if known else None,
        sum(row.count for row in rows),
    )
