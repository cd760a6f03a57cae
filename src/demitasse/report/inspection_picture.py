"""The picture of a .demi file: how many bytes each tensor takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from demitasse.report.canvas import figure_at, plain_axes, room_for, title_of
from demitasse.report.inspection import Inspection
from demitasse.report.inspection_bars import TensorBar, bars_of
from demitasse.report.style import COLOURS, GROUND, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POSITIONS, _VALUES, _HEADER = COLOURS[0], COLOURS[1], COLOURS[2]


def picture(found: Inspection, path: str | Path) -> None:
    """Draws a bar for each tensor, or each layer if there are many: bytes of positions and of values.

    Args:
        found: the inspected file.
        path: the picture to write; its suffix gives the format.
    """
    bars = bars_of(found.rows)
    labels = [bar.label for bar in bars] + ["header"]
    places = range(len(bars))
    with figure_at(path, 9 + room_for(labels), 1.6 + 0.3 * len(labels)) as figure:
        title_of(figure, f"{Path(found.name).name}: {found.size:,} bytes, {found.ratio:,.1f}x smaller than float32")
        axes = figure.subplots()
        lefts = [bar.positions for bar in bars]
        axes.barh(places, lefts, color=_POSITIONS, height=0.7, label="positions")
        axes.barh(places, [bar.values for bar in bars], left=lefts, color=_VALUES, height=0.7, label="values")
        axes.barh([len(bars)], [found.header], color=_HEADER, height=0.7, label="header")
        _draw_entropies(axes, bars)
        ends = [max(bar.positions + bar.values, bar.entropy or 0) for bar in bars] + [found.header]
        for place, (end, text) in enumerate(zip(ends, [*map(_text, bars), f"{found.header:,}"], strict=True)):
            # outside the axes if the bar is long; the layout leaves room for it
            axes.annotate(
                text, (end, place), (6, 0), textcoords="offset points", va="center",
                fontsize=8.5, color=INK, annotation_clip=False,
            )  # fmt: skip
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="bytes", xlim=(0, max(*ends, 1)), ylim=(len(labels) - 0.4, -0.6))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=9)
        # each bar has a number, so no grid is needed
        plain_axes(axes, grid=None)


def _draw_entropies(axes: Axes, bars: Sequence[TensorBar]) -> None:
    """Draws a mark at each entropy, with a line to a bar that ends before it."""
    known = [(place, bar.entropy) for place, bar in enumerate(bars) if bar.entropy]
    for place, entropy in known:
        end = bars[place].positions + bars[place].values
        axes.plot([min(end, entropy), entropy], [place, place], color=INK, linewidth=0.8)
    if known:
        places, entropies = zip(*known, strict=True)
        axes.plot(entropies, places, "|", color=GROUND, markersize=14, markeredgewidth=4, clip_on=False)
        label = "entropy, if values were independent"
        axes.plot(entropies, places, "|", color=INK, markersize=13, markeredgewidth=1.6, label=label, clip_on=False)


def _text(bar: TensorBar) -> str:
    size = bar.positions + bar.values
    return f"{size:,.0f}  ({8 * size / bar.total:.2f} bits each)" if size else "0"
