"""The picture of a net: a box for each layer, which includes the layers that work in place on its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import pairwise

from demitasse.errors import UsageError
from demitasse.extras import needs
from demitasse.report.layered import GraphLayout, Point, Size, layout
from demitasse.report.layered_places import Node
from demitasse.report.style import GROUND, INK

with needs("matplotlib"):
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
    from matplotlib.path import Path as Curve
    from matplotlib.textpath import TextPath

FORMATS = ("pdf", "png", "svg")
# maps a point (across, along) of the layout, relative to its middle, to the page
DIRECTIONS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "TB": lambda across, along: (across, -along),
    "BT": lambda across, along: (across, along),
    "LR": lambda across, along: (along, -across),
    "RL": lambda across, along: (-along, -across),
}

_EDGE, _NOTE = "#8a817a", "#7d746d"
_NAME_SIZE, _TEXT_SIZE = 8.0, 6.5
_LINE, _PADDING, _MARGIN = 10.0, 5.0, 14.0
_LARGEST_SIDE, _LARGEST_AREA = 30_000, 80_000_000  # pixels


@dataclass(frozen=True)
class Section:
    """One layer in a box: its name, lines about it, and the colour of its kind."""

    name: str
    lines: tuple[str, ...]
    colour: str

    @property
    def width(self) -> float:
        """The width in points."""
        return max(_width(self.name, _NAME_SIZE, "bold"), *(_width(line, _TEXT_SIZE) for line in self.lines), 0.0)

    @property
    def height(self) -> float:
        """The height in points."""
        return _LINE * (bool(self.name) + len(self.lines)) + _PADDING


@dataclass(frozen=True)
class Box:
    """A layer, and those that work in place on its output."""

    sections: tuple[Section, ...]

    @property
    def width(self) -> float:
        """The width in points."""
        return max(section.width for section in self.sections) + 3 * _PADDING

    @property
    def height(self) -> float:
        """The height in points."""
        return sum(section.height for section in self.sections)


def draw(
    boxes: Sequence[Box],
    edges: Mapping[tuple[int, int], str],
    direction: str = "LR",
    form: str = "png",
    title: str = "",
) -> bytes:
    """Draws a net.

    Args:
        boxes: the boxes, every one after those that lead to it.
        edges: (number of a box, number of a later box) -> a note on the edge, which may be empty.
        direction: direction of the edges: ``LR`` from left to right, ``TB``, ``BT`` or ``RL``.
        form: ``png``, ``svg`` or ``pdf``.
        title: title of the picture.

    Returns:
        The bytes of the picture's file.

    Raises:
        UsageError: the direction or the form is unknown.
    """
    if direction not in DIRECTIONS:
        raise UsageError(f"rankdir is {direction!r}; expected one of {', '.join(DIRECTIONS)}")
    if form not in FORMATS:
        raise UsageError(f"picture format is {form!r}; expected one of {', '.join(FORMATS)}")
    upright = direction in ("TB", "BT")
    sizes: dict[Node, Size] = {
        index: Size(box.width, box.height) if upright else Size(box.height, box.width)
        for index, box in enumerate(boxes)
    }
    placed = layout(sizes, list(edges), Size(14.0, 26.0))
    page = _Page(placed, direction, title)
    for edge, note in edges.items():
        page.draw_edge(placed.paths[edge], note)
    for index, box in enumerate(boxes):
        page.draw_box(box, placed.centres[index])
    return page.to_bytes(form)


class _Page:
    """A figure whose unit is the point."""

    def __init__(self, placed: GraphLayout, direction: str, title: str) -> None:
        self._turn = DIRECTIONS[direction]
        self._upright = direction in ("TB", "BT")
        self._middle = Point(placed.size.across / 2, placed.size.along / 2)
        width, height = placed.size if self._upright else placed.size[::-1]
        head = 24.0 if title else 0.0
        width = max(width, _width(title, 11, "bold"))
        right, top = width / 2 + _MARGIN, height / 2 + _MARGIN
        self._figure = Figure(figsize=(2 * right / 72, (2 * top + head) / 72), facecolor=GROUND)
        FigureCanvasAgg(self._figure)
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(-right, right), ylim=(-top, top + head))
        self._axes.axis("off")
        if title:
            self._axes.text(_MARGIN - right, top + 4, title, size=11, weight="bold", color=INK, parse_math=False)

    def _place(self, point: Point) -> tuple[float, float]:
        return self._turn(point.across - self._middle.across, point.along - self._middle.along)

    def draw_edge(self, path: Sequence[tuple[Point, Point]], note: str) -> None:
        points, codes = [path[0][0]], [Curve.MOVETO]
        for (_, leave), (enter, through) in pairwise(path):
            half = (leave.along + enter.along) / 2
            points += [leave, Point(leave.across, half), Point(enter.across, half), enter, through]
            codes += [Curve.LINETO, *[Curve.CURVE4] * 3, Curve.LINETO]
        curve = Curve([self._place(point) for point in points], codes)
        self._axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=_EDGE, linewidth=0.9, zorder=1))
        self._arrow(path[-1][1])
        if note:
            self._note(path[1][0], note)

    def _note(self, point: Point, note: str) -> None:
        x, y = self._place(Point(point.across, point.along - 7))
        x, y = (x + 3, y) if self._upright else (x, y + 2)
        across, along = ("left", "center") if self._upright else ("center", "bottom")
        ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 0.3}
        self._axes.text(
            x, y, note, size=5.5, color=_NOTE, style="italic", zorder=2.5, parse_math=False, bbox=ground,
            ha=across, va=along,
        )  # fmt: skip

    def _arrow(self, tip: Point) -> None:
        corners = [tip, Point(tip.across - 2.2, tip.along - 5), Point(tip.across + 2.2, tip.along - 5)]
        head = Curve([self._place(corner) for corner in [*corners, tip]])
        self._axes.add_patch(PathPatch(head, facecolor=_EDGE, edgecolor="none", zorder=2))

    def draw_box(self, box: Box, centre: Point) -> None:
        x, y = self._place(centre)
        left, top = x - box.width / 2, y + box.height / 2
        colour = box.sections[0].colour
        outline = FancyBboxPatch(
            (left, top - box.height), box.width, box.height, boxstyle="round,pad=0,rounding_size=4",
            facecolor=GROUND, edgecolor=colour, linewidth=1.0, zorder=3,
        )  # fmt: skip
        self._axes.add_patch(outline)
        for number, section in enumerate(box.sections):
            field = Rectangle((left, top - section.height), box.width, section.height, zorder=3)
            field.set(facecolor=_tint(section.colour), edgecolor="none")
            self._axes.add_patch(field)
            field.set_clip_path(outline)
            if number:
                self._axes.plot([left, left + box.width], [top, top], color=GROUND, linewidth=1.0, zorder=3)
            self._write(section, x, top)
            top -= section.height
        frame = FancyBboxPatch(
            (left, y - box.height / 2), box.width, box.height, boxstyle="round,pad=0,rounding_size=4",
            facecolor="none", edgecolor=colour, linewidth=1.0, zorder=4,
        )  # fmt: skip
        self._axes.add_patch(frame)

    def _write(self, section: Section, x: float, top: float) -> None:
        y = top - (_PADDING + _LINE) / 2
        texts = [(section.name, _NAME_SIZE, "bold"), *((line, _TEXT_SIZE, "normal") for line in section.lines)]
        for text, size, weight in texts if section.name else texts[1:]:
            self._axes.text(
                x, y, text, size=size, weight=weight, color=INK, ha="center", va="center", zorder=5, parse_math=False
            )
            y -= _LINE

    def to_bytes(self, form: str) -> bytes:
        width, height = self._figure.get_size_inches()
        dots = min(144.0, _LARGEST_SIDE / max(width, height), (_LARGEST_AREA / (width * height)) ** 0.5)
        stream = BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "demitasse"}):
            self._figure.savefig(stream, format=form, dpi=dots, metadata={"Date": None} if form == "svg" else None)
        return stream.getvalue()


@lru_cache(4096)
def _width(text: str, size: float, weight: str = "normal") -> float:
    """Returns the width of a text in points."""
    if not text.strip():
        return 0.0
    properties = FontProperties(weight=weight, size=size)
    # the control points of the letters are hardly wider than the letters
    return float(TextPath((0, 0), text.replace("$", r"\$"), size=size, prop=properties).vertices[:, 0].max())


def _tint(colour: str) -> tuple[float, ...]:
    return tuple(1 - 0.3 * (1 - part) for part in to_rgb(colour))
