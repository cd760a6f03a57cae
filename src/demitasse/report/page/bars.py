"""Horizontal bars with their values at their ends, in one or several panels beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from demitasse.report.page.drawing import ACCENT, STRONG, WIDE, Chart, Spec, draw, rows, series_colours

_STEP = 24  # pixels of a bar with its gap
_LETTER = 7  # pixels of a letter of a label


class Bar(NamedTuple):
    """A bar: its name, the lengths of its parts, and the text at its end."""

    name: str
    parts: Sequence[float]
    text: str


def bars(title: str, alt: str, panels: Mapping[str, Sequence[Bar]], parts: Sequence[str] = (), note: str = "") -> Chart:
    """Draws bars.

    Args:
        title: title of the chart.
        alt: what it shows, in words.
        panels: label of a panel -> its bars; all panels have the same names in the same order.
        parts: the names of the parts of each bar; none if it has one part. Without parts, the last bar of several
            panels is highlighted as the result.
        note: a remark below the chart.
    """

    def spec(width: int) -> Spec:
        beside = width == WIDE and len(panels) > 1
        made = []
        for number, (label, found) in enumerate(panels.items()):
            labelled = not (beside and number)
            made.append(_panel(label, found, parts, _width(width, panels, beside), labelled, len(panels) > 1))
        return {"hconcat" if beside else "vconcat": made, "spacing": 16}

    return draw(title, alt, spec, note)


def _width(width: int, panels: Mapping[str, Sequence[Bar]], beside: bool) -> int:
    names = max(len(bar.name) for found in panels.values() for bar in found)
    free = width - min(150, _LETTER * names) - 24
    return (free - 16 * (len(panels) - 1)) // len(panels) if beside else free


def _panel(label: str, found: Sequence[Bar], parts: Sequence[str], width: int, labelled: bool, marked: bool) -> Spec:
    names = _distinct([bar.name for bar in found])
    longest, most = max(len(bar.text) for bar in found), max(max(sum(bar.parts) for bar in found), 1e-12)
    # texts begin at the ends of the bars: the longest bar leaves room for its own
    domain = [0, most * width / max(width - _LETTER * longest - 8, width / 4)]
    ends = [
        {"bar": name, "end": sum(bar.parts), "text": bar.text} for name, bar in zip(names, found, strict=True)
    ]  # fmt: skip
    data = [
        {
            "bar": name,
            "start": sum(bar.parts[:part]),
            "end": sum(bar.parts[: part + 1]),
            "name": parts[part] if parts else ("result" if marked and number == len(found) - 1 else "other"),
            "label": f"{bar.name}: {bar.text}" + (f", {parts[part]}: {bar.parts[part]:,.0f}" if parts else f" ({label})"),
        }
        for number, (name, bar) in enumerate(zip(names, found, strict=True))
        for part in range(len(bar.parts))
    ]
    axis = {"labels": labelled, "ticks": False, "domain": False, "labelPadding": 8, "title": None}
    y = {"field": "bar", "type": "nominal", "sort": names, "axis": axis, "scale": {"paddingInner": 0.3}}
    x = {"type": "quantitative", "scale": {"domain": domain, "nice": False}, "axis": None}
    named = parts or (["result", "other"] if marked else ["other"])
    colours = series_colours(named, (STRONG, ACCENT) if parts else (ACCENT, STRONG) if marked else (ACCENT,))
    return {
        "title": {"text": label, "fontWeight": "normal", "fontSize": 12, "color": "var(--quiet)"},
        "width": width,
        "height": {"step": _STEP},
        "layer": [
            {
                "data": rows(data),
                "mark": {"type": "bar", "cornerRadiusEnd": 2},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "start"},
                    "x2": {"field": "end"},
                    "color": colours if parts else {**colours, "legend": None},
                    "description": {"field": "label"},
                },
            },
            {
                "data": rows(ends),
                "mark": {"type": "text", "align": "left", "dx": 6, "aria": False, "color": "var(--ink)"},
                "encoding": {"y": y, "x": {**x, "field": "end"}, "text": {"field": "text", "type": "nominal"}},
            },
        ],
    }


def _distinct(names: Sequence[str]) -> list[str]:
    """Returns the names, with a number after those that were there before."""
    found: list[str] = []
    for name in names:
        again = sum(other == name or other.startswith(f"{name} #") for other in found)
        found.append(f"{name} #{again + 1}" if again else name)
    return found
