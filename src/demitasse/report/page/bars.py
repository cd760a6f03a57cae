"""Horizontal bars with their values at their ends, in one or several panels beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from demitasse.report.page.drawing import ACCENT, INK, QUIET, STRONG, WIDE, Chart, Spec, draw, rows, series_colours
from demitasse.report.page.sentences import shown

_STEP = 24  # pixels of a bar with its gap
_LETTER = 7  # pixels of a letter of a label
_LONGEST_LABEL = 150
_GAP = 16


class Bar(NamedTuple):
    """A bar.

    Attributes:
        name: the label before it.
        parts: the lengths of its parts.
        text: the text at its end.
        earlier: whether it is less important than the others, and looks so.
    """

    name: str
    parts: Sequence[float]
    text: str
    earlier: bool = False


def bars(title: str, alt: str, panels: Mapping[str, Sequence[Bar]], parts: Sequence[str] = (), note: str = "") -> Chart:
    """Draws bars.

    Args:
        title: title of the chart.
        alt: what it shows, in words.
        panels: label of a panel -> its bars; all panels have the same names in the same order.
        parts: the names of the parts of each bar; none if it has one part.
        note: a remark below the chart.
    """

    def spec(width: int) -> Spec:
        beside = width == WIDE and len(panels) > 1
        legend = {"columns": 2 if width == WIDE else 1} if parts else None
        inner = _width(width, panels, beside)
        made = [
            _panel(label, found, parts, inner, labelled=not (beside and number), legend=legend)
            for number, (label, found) in enumerate(panels.items())
        ]
        return {"hconcat" if beside else "vconcat": made, "spacing": _GAP}

    return draw(title, alt, spec, note)


def _width(width: int, panels: Mapping[str, Sequence[Bar]], beside: bool) -> int:
    longest = max(len(bar.name) for found in panels.values() for bar in found)
    free = width - min(_LONGEST_LABEL, _LETTER * longest) - 24
    return (free - _GAP * (len(panels) - 1)) // len(panels) if beside else free


def _panel(
    label: str, found: Sequence[Bar], parts: Sequence[str], width: int, labelled: bool, legend: Spec | None
) -> Spec:
    names = _distinct([bar.name for bar in found])
    longest, most = max(len(bar.text) for bar in found), max(max(sum(bar.parts) for bar in found), 1e-12)
    # texts begin at the ends of the bars: the longest bar leaves room for its own
    domain = [0, most * width / max(width - _LETTER * longest - 8, width / 4)]
    axis = {"labels": labelled, "ticks": False, "domain": False, "labelPadding": 8, "title": None}
    y = {"field": "bar", "type": "nominal", "sort": names, "axis": axis, "scale": {"paddingInner": 0.3}}
    x = {"type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": None}
    colours = series_colours(parts or ("earlier", "result"), (STRONG, ACCENT))
    drawn = {
        "y": y,
        "x": {**x, "field": "start"},
        "x2": {"field": "end"},
        "color": {**colours, "legend": legend},
        "description": {"field": "label"},
    }
    ends = [{"bar": name, "end": sum(bar.parts), "text": bar.text} for name, bar in zip(names, found, strict=True)]
    text = {"type": "text", "align": "left", "dx": 6, "aria": False, "color": INK}
    return {
        "title": {"text": label, "fontWeight": "normal", "fontSize": 12, "color": QUIET},
        "width": width,
        "height": {"step": _STEP},
        "layer": [
            {"data": rows(_parts(label, names, found, parts)), "mark": {"type": "bar"}, "encoding": drawn},
            {
                "data": rows(ends),
                "mark": text,
                "encoding": {"y": y, "x": {**x, "field": "end"}, "text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def _parts(label: str, names: Sequence[str], found: Sequence[Bar], parts: Sequence[str]) -> list[dict[str, object]]:
    """Returns a row for each part of each bar."""
    data: list[dict[str, object]] = []
    for name, bar in zip(names, found, strict=True):
        for number, length in enumerate(bar.parts):
            what = f", {parts[number]}: {length:,.0f}" if parts else f" ({label})"
            data.append(
                {
                    "bar": name,
                    "start": sum(bar.parts[:number]),
                    "end": sum(bar.parts[: number + 1]),
                    "name": parts[number] if parts else "earlier" if bar.earlier else "result",
                    "label": f"{bar.name}: {bar.text}{what}",
                }
            )
    return data


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns the names, with a number after those that were there before."""
    found: list[str] = []
    for name in map(shown, names):
        again = sum(other == name or other.startswith(f"{name} #") for other in found)
        found.append(f"{name} #{again + 1}" if again else name)
    return found
