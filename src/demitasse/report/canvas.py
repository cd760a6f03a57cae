"""The parts that all pictures in files share: axes, titles, and writing the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from demitasse.errors import UsageError
from demitasse.extras import needs
from demitasse.files import atomic_write
from demitasse.report.style import FAINT, GROUND, INK

with needs("matplotlib"):
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import LogLocator, NullFormatter

_MARGIN = 0.12  # around each part of a picture, in inches
_LETTER = 0.085  # average width of a letter of a label, in inches
_SHORT = 20  # number of letters that every figure has room for


@contextmanager
def figure_at(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """Yields a figure of this size in inches and writes it at the end, without global state and without a display.

    Raises:
        UsageError: the suffix is not that of a picture.
        WriteError: the file cannot be written.
    """
    form = Path(path).suffix.lstrip(".").lower()
    if form not in FigureCanvasAgg.get_supported_filetypes():
        raise UsageError(f"{path}: expected a picture's suffix: .png, .svg or .pdf")
    layout = ConstrainedLayoutEngine(w_pad=_MARGIN, h_pad=_MARGIN)
    figure = Figure(figsize=(width, height), layout=layout, facecolor=GROUND, dpi=110)
    FigureCanvasAgg(figure)
    yield figure
    with atomic_write(path) as file:
        figure.savefig(file, format=form)


def title_of(figure: Figure, text: str) -> None:
    """Writes a title at the top left."""
    figure.suptitle(text, x=_MARGIN / figure.get_figwidth(), ha="left", weight="bold", color=INK)


def plain_axes(axes: Axes, grid: Literal["x", "y"] | None = "y") -> None:
    """Removes the upper and the right edge of the frame, and draws a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)


def log_axis(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers: 0.1, not a power of ten; not if nothing is above 0."""
    if not axes.dataLim.y1 > 0:
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def reference_line(axes: Axes, value: float, text: str) -> None:
    """Draws a horizontal line for comparison, with a label beside it, where it covers no values."""
    axes.axhline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        text.replace(": ", ":\n"), (1, value), (4, 0), ("axes fraction", "data"), "offset points",
        va="center", color=INK, fontsize=8.5,
    )  # fmt: skip


def room_for(labels: Collection[str]) -> float:
    """Returns the additional width that a figure needs for its labels, in inches."""
    return max(0.0, _LETTER * (max(map(len, labels), default=0) - _SHORT))


def columns_of(names: Sequence[str], width: float) -> int:
    """Returns the number of columns for names in the legend of a figure of this width in inches."""
    longest = max(map(len, names), default=0)
    return max(1, min(len(names), int(width / (0.075 * (longest + 6)))))
