"""The parts that all pictures share: colours, axes, titles, and writing the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from demitasse.errors import UsageError
from demitasse.extras import needs
from demitasse.files import atomic_write

with needs("matplotlib"):
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

# each has a contrast of at least 3:1 against white, and any two are distinct for colour-blind people, too (a CIE76
# distance of at least 22 under the three dichromacies of Machado et al. 2009)
COLOURS = ("#4a2c1a", "#c8792a", "#1f7fa3", "#a070e8", "#708858", "#884010", "#401088", "#104058")
MARKS = "osD^vPX"
INK, FAINT = "#2e2a27", "#d8d2cb"

_LETTER = 0.085  # average width of a letter of a label, in inches
_SHORT = 20  # number of letters that every figure has room for
_FEW, _FAR = 5, 4  # show all values if they are fewer; leave out values that make the range this many times larger


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
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white", dpi=110)
    FigureCanvasAgg(figure)
    yield figure
    with atomic_write(path) as file:
        figure.savefig(file, format=form)


def title_of(figure: Figure, text: str) -> None:
    """Writes a title at the top left."""
    figure.suptitle(text, x=0.01, ha="left", weight="bold", color=INK)


def plain_axes(axes: Axes, grid: Literal["x", "y"] | None = "y") -> None:
    """Removes the upper and the right edge of the frame, and draws a faint grid."""
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
    """Draws a horizontal line for comparison, with a label."""
    axes.axhline(value, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}
    axes.annotate(
        text, (1, value), (-4, 4), ("axes fraction", "data"), "offset points",
        ha="right", va="bottom", color=INK, fontsize=8.5, bbox=ground,
    )  # fmt: skip


def useful_limits(values: Sequence[float], floor: float | None = None) -> tuple[float, float]:
    """Returns limits of an axis within which most values can be distinguished.

    The limits leave out a few values that are far off, such as the first test of an untrained net; without such
    values they include all.

    Args:
        values: the values drawn.
        floor: the lower limit, if it is known.
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
    """Returns the additional width that a figure needs for its labels, in inches."""
    return max(0.0, _LETTER * (max(map(len, labels), default=0) - _SHORT))


def columns_of(names: Sequence[str], width: float) -> int:
    """Returns the number of columns for names in the legend of a figure of this width in inches."""
    longest = max(map(len, names), default=0)
    return max(1, min(len(names), int(width / (0.075 * (longest + 6)))))
