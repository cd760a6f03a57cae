"""The picture of a .demi file: which tensors its bytes go to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from demitasse.report.inspection import Inspection, Row
from demitasse.report.plots import COLOURS, FAINT, INK, _figure, _plain

_MOST_BARS = 30
_POSITIONS, _VALUES, _HEADER = COLOURS[0], COLOURS[1], COLOURS[2]


class Bar(NamedTuple):
    """Bytes of positions, of values, and of what they were if values were independent, None where that says nothing."""

    label: str
    positions: float
    values: float
    entropy: float | None
    total: int


def picture(found: Inspection, path: str | Path) -> None:
    """Draws a bar for each tensor, or each layer where tensors are many: bytes of positions and of values.

    Args:
        found: the file.
        path: the picture to write; its suffix tells the format.
    """
    bars = _bars(found.rows)
    labels = [bar.label for bar in bars] + ["header"]
    places = range(len(bars))
    with _figure(path, 9, 1.5 + 0.3 * len(labels)) as figure:
        axes = figure.subplots()
        axes.barh(places, [bar.positions for bar in bars], color=_POSITIONS, height=0.7, label="positions")
        lefts = [bar.positions for bar in bars]
        axes.barh(places, [bar.values for bar in bars], left=lefts, color=_VALUES, height=0.7, label="values")
        axes.barh([len(bars)], [found.header], color=_HEADER, height=0.7, label="header")
        known = [(place, bar.entropy) for place, bar in zip(places, bars, strict=True) if bar.entropy is not None]
        if known:
            axes.plot(
                [entropy for _, entropy in known],
                [place for place, _ in known],
                "|",
                color=INK,
                markersize=13,
                markeredgewidth=1.6,
                label="entropy, if values were independent",
            )
        longest = max([bar.positions + bar.values for bar in bars] + [entropy for _, entropy in known] + [found.header])
        for place, bar in zip(places, bars, strict=True):
            end = max(bar.positions + bar.values, bar.entropy or 0)
            axes.text(end + 0.012 * longest, place, _text(bar), va="center", fontsize=8.5, color=INK)
        axes.text(found.header + 0.012 * longest, len(bars), f"{found.header:,}", va="center", fontsize=8.5, color=INK)
        title = f"{Path(found.name).name}: {found.size:,} bytes, {found.ratio:,.1f}x smaller than float32"
        axes.set_title(title, loc="left", weight="bold", color=INK)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="bytes", xlim=(0, 1.28 * longest), ylim=(len(labels) - 0.4, -0.6))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
        _plain(axes, grid="x")
        axes.spines["left"].set_color(FAINT)


def _text(bar: Bar) -> str:
    size = bar.positions + bar.values
    return f"{size:,.0f}  ({8 * size / bar.total:.2f} bits each)" if size else "0"


def _bars(rows: Sequence[Row]) -> list[Bar]:
    """Returns a bar for each tensor; for each layer where they are too many; the rest in one where these are, too."""
    groups: dict[str, list[Row]] = {}
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


def _bar(label: str, rows: Sequence[Row]) -> Bar:
    known = all(row.against_entropy is not None or not row.entropy for row in rows)
    return Bar(
        label,
        sum(row.positions for row in rows),
        sum(row.values for row in rows),
        sum(row.entropy for row in rows) if known else None,
        sum(row.count for row in rows),
    )
