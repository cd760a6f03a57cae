"""The picture of training runs: loss, outputs of the test nets and learning rate, over iterations or seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demitasse.arrays import Array
from demitasse.errors import UsageError
from demitasse.extras import needs
from demitasse.registry import suggest
from demitasse.report.canvas import (
    columns_of,
    figure_at,
    log_axis,
    plain_axes,
    title_of,
)
from demitasse.report.limits import useful_limits
from demitasse.report.log_parser import Series, TrainingLog
from demitasse.report.style import COLOURS, INK, MARKS

with needs("matplotlib"):
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter

Run = tuple[str, TrainingLog]

AXES = ("iterations", "seconds")
_TRAIN_LOSS, _TEST_LOSS, _LOSS, _RATE = "train_loss", "test_loss", "loss", "lr"
# from this number of points on, a moving mean is drawn over the values
_MANY, _WINDOWS = 60, 40


class _Curve(NamedTuple):
    series: Series
    tested: bool


def plot_logs(
    runs: Sequence[Run],
    path: str | Path,
    show: Sequence[str] = (),
    x: str = "iterations",
    log_scale: bool = False,
) -> None:
    """Draws several runs together, with a panel for each kind of number.

    Args:
        runs: (name, log) of each run.
        path: the picture to write; its suffix gives the format.
        show: the panels: ``loss`` (of training and tests), ``train_loss``, ``test_loss``, ``lr``, or the name of a
            test output such as ``accuracy``. By default loss, the test outputs other than losses, and lr.
        x: ``iterations``, or ``seconds`` since the start of training.
        log_scale: whether to draw losses on a logarithmic axis.

    Raises:
        UsageError: no log has the numbers of a panel, or a log has no dates for seconds.
    """
    if x not in AXES:
        raise UsageError(f"x is {x!r}; expected {' or '.join(AXES)}")
    known = _known(runs)
    missing = next((name for name in show if name not in known), None)
    if missing is not None:
        raise UsageError(f"no log has {missing!r}; {suggest(missing, known)}")
    panels = list(show) or _usual(known)
    heights = [1 if name == _RATE and len(panels) > 1 else 2 for name in panels]
    with figure_at(path, 9, 1.4 + 1.5 * sum(heights)) as figure:
        title_of(figure, "Training")
        column = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, name in zip(column, panels, strict=True):
            _panel(axes, name, runs, x)
            if log_scale and name in (_LOSS, _TRAIN_LOSS, _TEST_LOSS):
                log_axis(axes)
            plain_axes(axes)
        column[-1].set_xlabel("iteration" if x == "iterations" else "seconds since the start")
        column[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
        names = [name for name, _ in runs]
        handles = [
            Line2D([], [], color=colour, linewidth=2.5, marker=mark)
            for _, colour, mark in zip(runs, cycle(COLOURS), cycle(MARKS))
        ]
        figure.legend(handles, names, loc="outside lower left", ncols=columns_of(names, 9), frameon=False)


def _known(runs: Sequence[Run]) -> list[str]:
    """Returns the panels that at least one log has numbers for."""
    names = dict.fromkeys(name for _, log in runs for name in log.tests)
    kinds = (_LOSS, _TRAIN_LOSS, _TEST_LOSS, _RATE)
    return [kind for kind in kinds if any(_curves(log, kind) for _, log in runs)] + [
        name for name in names if name not in kinds
    ]


def _usual(known: Sequence[str]) -> list[str]:
    outputs = [name for name in known if "loss" not in name and name != _RATE]
    return [*([_LOSS] if _LOSS in known else []), *outputs, *([_RATE] if _RATE in known else [])]


def _curves(log: TrainingLog, name: str) -> list[_Curve]:
    """Returns the curves of a log in a panel."""
    found = []
    if name in (_LOSS, _TRAIN_LOSS):
        found.append(_Curve(log.loss, tested=False))
    if name == _RATE:
        found.append(_Curve(log.lr, tested=False))
    if name in (_LOSS, _TEST_LOSS):
        found += [_Curve(series, tested=True) for output, series in log.tests.items() if "loss" in output]
    if name not in (_LOSS, _TRAIN_LOSS, _TEST_LOSS, _RATE) and name in log.tests:
        found.append(_Curve(log.tests[name], tested=True))
    return [curve for curve in found if curve.series.values]


def _panel(axes: Axes, name: str, runs: Sequence[Run], x: str) -> None:
    kinds = set()
    values = [value for _, log in runs for curve in _curves(log, name) for value in curve.series.values]
    for (run, log), colour, mark in zip(runs, cycle(COLOURS), cycle(MARKS)):
        for curve in _curves(log, name):
            kinds.add(curve.tested)
            places = curve.series.iterations if x == "iterations" else curve.series.seconds
            if any(map(math.isnan, places)) or len(places) != len(curve.series.values):
                raise UsageError(f"{run}: the lines have no dates; expected dates for an x axis of seconds")
            _line(axes, places, curve, (colour, mark), steps=name == _RATE)
    if name not in (_LOSS, _TRAIN_LOSS, _TEST_LOSS, _RATE):
        # the test of an untrained net would flatten the rest
        axes.set_ylim(*useful_limits(values))
    label = {_RATE: "learning rate", _TRAIN_LOSS: "training loss", _TEST_LOSS: "test loss", _LOSS: "loss"}
    axes.set_ylabel(label.get(name, f"test {name}"), color=INK)
    if len(kinds) == 2:
        styles = [
            Line2D([], [], color=INK, linewidth=1.2),
            Line2D([], [], color=INK, marker="o", markersize=3.5, lw=0.8),
        ]
        axes.legend(styles, ["training", "test"], frameon=False, loc="upper right", ncols=2, fontsize=8.5)


def _line(axes: Axes, places: Sequence[float], curve: _Curve, look: tuple[str, str], steps: bool) -> None:
    colour, mark = look
    values = np.asarray(curve.series.values)
    if steps:
        axes.step(places, values, where="post", color=colour, linewidth=1.4)
    elif curve.tested:
        axes.plot(places, values, marker=mark, color=colour, linewidth=0.9, markersize=3.5, alpha=0.95)
    elif len(values) < _MANY:
        axes.plot(places, values, color=colour, linewidth=1.2)
    else:
        axes.plot(places, values, color=colour, linewidth=0.6, alpha=0.35)
        axes.plot(places, _smooth(values), color=colour, linewidth=1.5)


def _smooth(values: Array) -> Array:
    """Returns the moving mean of the values, over fewer values at both ends."""
    half = max(1, len(values) // _WINDOWS // 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))
