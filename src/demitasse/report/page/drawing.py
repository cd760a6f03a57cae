"""Turns specifications of Vega-Lite into SVG, once for wide and once for narrow screens.

Colours are variables of the page's style sheet, so that a chart follows the page between light and dark. Every mark has
a text, from the field ``label`` of its data, which the page shows where a pointer or a key points at the mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demitasse.extras import needs
from demitasse.report.page.sentences import shown
from demitasse.report.style import COLOURS

with needs("vl_convert"):
    import vl_convert

Spec = dict[str, Any]
WIDE, NARROW = 620, 330  # pixels
SERIES = tuple(f"var({'--'}series-{number})" for number in range(1, len(COLOURS) + 1))
INK, QUIET, FAINT = (f"var({'--'}{name})" for name in ("ink", "quiet", "faint"))
ACCENT, STRONG = SERIES[1], SERIES[0]

_CONFIG: Spec = {
    "background": None,
    "padding": 4,
    "font": "Liberation Sans",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": FAINT,
        "domainColor": FAINT,
        "tickColor": FAINT,
        "labelLimit": 150,
        "titlePadding": 8,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 12,
        "labelLimit": 260,
        "orient": "bottom",
        "title": None,
        "symbolStrokeWidth": 2,
        "symbolOpacity": 1,
        "columnPadding": 18,
        "symbolType": "circle",
    },
    "header": {"labelColor": INK, "labelFontSize": 12, "title": None, "labelLimit": 180},
    "title": {"color": INK, "fontSize": 13, "anchor": "start", "fontWeight": "bold", "subtitleColor": QUIET},
    "line": {"strokeWidth": 1.8},
    "text": {"color": INK, "fontSize": 12},
}


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        title: its title.
        alt: what it shows, for those who do not see it.
        wide: the SVG for wide screens and for print.
        narrow: the SVG for narrow screens.
        note: a remark below it; empty for none.
    """

    title: str
    alt: str
    wide: str
    narrow: str
    note: str = ""


def draw(title: str, alt: str, spec: Callable[[int], Spec], note: str = "") -> Chart:
    """Draws a chart.

    Args:
        title: its title.
        alt: what it shows.
        spec: returns the specification for a width in pixels.
        note: a remark below it.
    """
    wide, narrow = (_svg(spec(width)) for width in (WIDE, NARROW))
    return Chart(title, alt, wide, narrow, note)


def _svg(spec: Spec) -> str:
    text: str = vl_convert.vegalite_to_svg({**spec, "config": _CONFIG})
    start = text.index("<svg")
    if " id=" in text:
        raise AssertionError("a chart has ids, which those of another chart on the page may repeat")
    return text[start:]


def rows(values: Sequence[Mapping[str, object]]) -> Spec:
    """Returns inline data, whose texts are made fit for people."""
    return {
        "values": [
            {key: shown(value) if isinstance(value, str) else value for key, value in row.items()} for row in values
        ]
    }


def series_colours(names: Sequence[str], colours: Sequence[str] = SERIES) -> Spec:
    """Returns the colour of a mark by its field ``name``: each name has its own, as long as there are colours."""
    domain = [shown(name) for name in names]
    cycled = [colours[number % len(colours)] for number in range(len(names))]
    return {"field": "name", "type": "nominal", "scale": {"domain": domain, "range": cycled}, "sort": None}
