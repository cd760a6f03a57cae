"""Turns specifications of Vega-Lite into SVG, once for wide and once for narrow screens.

Colours are variables of the page's style sheet, so that a chart follows the page between light and dark. Every mark has
a text, from the field ``label`` of its data, which the page shows where a pointer or a key points at the mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

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


_NOTHING = ("", "M0,0h0v0h0Z")
# defaults of SVG, and of the page's style sheet for texts
_NEEDLESS = {"opacity": "1", "stroke-width": "1", "pointer-events": "none", "font-size": "12px"}
_NEEDLESS |= {"font-family": str(_CONFIG["font"])}
_PLACES = ("d", "transform", "x", "x2", "y", "y2")
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")  # Vega fails where it shortens a text in the middle of one
# Vega takes these values for keys that are already there, as every object of JavaScript has them
_OF_OBJECTS = re.compile(
    r'"(constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|toLocaleString|toString|valueOf|__\w+__)"(?!\s*:)'
)
_APART = "\N{WORD JOINER}"
_DIGITS = re.compile(r"(?<=\.\d\d)\d+")  # beyond a hundredth of a pixel


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
    plain = json.dumps({**spec, "config": _CONFIG}, ensure_ascii=False)
    plain = _OF_OBJECTS.sub(rf'"\1{_APART}"', _BEYOND_16_BITS.sub("\N{REPLACEMENT CHARACTER}", plain))
    text: str = vl_convert.vegalite_to_svg(plain).replace(_APART, "")
    # in a page of HTML an SVG needs no namespace
    root = ElementTree.fromstring(text[text.index("<svg") :].replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))
    if any(element.get("id") for element in root.iter()):
        raise AssertionError("a chart has ids, which those of another chart on the page may repeat")
    _make_small(root)
    return ElementTree.tostring(root, encoding="unicode")


def _make_small(root: ElementTree.Element) -> None:
    """Removes what nobody sees, without which a chart has little more than half the bytes."""
    for parent in list(root.iter()):
        for child in list(parent):
            overlapping = child.tag == "text" and child.get("opacity") == "0"
            if overlapping or (child.tag == "path" and child.get("d") in _NOTHING):
                parent.remove(child)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if _NEEDLESS.get(key) == value:
                del element.attrib[key]
            elif key in _PLACES:
                element.set(key, _DIGITS.sub("", value))


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
