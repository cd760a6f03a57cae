"""What all pictures have in common: colours, axes, titles, and how they are written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from demitasse.errors import UsageError
from demitasse.extras import needs
from demitasse.files import atomic_write

with needs("matplotlib"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

# each at 3:1 or more against white, and any two apart for colour-blind eyes, too (a CIE76 distance of at least 22
# under the three dichromacies of Machado et al. 2009)
COLOURS = ("#4a2c1a", "#c8792a", "#1f7fa3", "#a070e8", "#708858", "#884010", "#401088", "#104058")
MARKS = "osD^vPX"
INK, FAINT = "#2e2a27", "#d8d2cb"
Axes = Any

_LETTER = 0.085  # inches, on average, of the labels
_SHORT = 20  # letters that a figure has room for anyway
_FEW, _FAR = 5, 4  # of fewer values all are shown; the range is that many times larger with what is far off


@contextmanager
def figure_at(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """Gives a figure of so many inches and writes it, whole or not at all; no global state, no display.

    Raises:
        UsageError: pictures of this ending are not written.
        WriteError: the file cannot be written.
    """
    form = Path(path).suffix.lstrip(".").lower()
    if form not in FigureCanvasAgg.get_supported_filetypes():
        raise UsageError(f"{path}: a picture ends in .png, .svg or .pdf")
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white", dpi=110)
    FigureCanvasAgg(figure)
    yield figure
    with atomic_write(path) as file:
        figure.savefig(file, format=form)


def title_of(figure: Figure, text: str) -> None:
    """Writes a title at the left above everything."""
    figure.suptitle(text, x=0.01, ha="left", weight="bold", color=INK)


def plain_axes(axes: Axes, grid: str | None = "y") -> None:
    """Leaves of the frame what is needed, with a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=INK)


def log_axis(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers: 0.1, not a power of ten."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def reference_line(axes: Axes, value: float, text: str) -> None:
    """Draws a line that the rest is to be seen against, and says what it is."""
    axes.axhline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
    place = {"xytext": (-4, 4), "textcoords": "offset points", "ha": "right", "va": "bottom"}
    axes.annotate(text, (1, value), xycoords=("axes fraction", "data"), color=INK, fontsize=8.5, bbox=ground, **place)


def useful_limits(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """Returns limits of an axis in which the bulk of the values can be told apart.

    A few values far off, such as the first test of an untrained net, are left outside; where there are none, the
    limits hold all values.

    Args:
        values: those that are drawn.
        floor: the lower limit, where it is known.
    """
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if len(finite) >= _FEW:
        least = float(np.quantile(finite, 0.1, method="higher"))
        if high - low > _FAR * (high - least):
            low = least - 0.3 * (high - least)
        most = float(np.quantile(finite, 0.9, method="lower"))
        if high - low > _FAR * (most - low):
            high = most + 0.3 * (most - low)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (low - margin if floor is None else floor), high + margin


def room_for(labels: Collection[str]) -> float:
    """Returns by how many inches a figure must be wider for its labels."""
    return max(0.0, _LETTER * (max(map(len, labels), default=0) - _SHORT))


def columns_of(names: Sequence[str], width: float) -> int:
    """Returns in how many columns names stand in a legend of a figure that is so many inches wide."""
    longest = max(map(len, names), default=0)
    return max(1, min(len(names), int(width / (0.075 * (longest + 6)))))
