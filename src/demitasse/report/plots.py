"""Pictures of a compression: how it trained, what each layer kept, which powers of two it uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from demitasse.errors import UsageError
from demitasse.files import atomic_write
from demitasse.report.log_parser import Log, Series

COLOURS = ("#5b3a29", "#c8843c", "#2a7f8e", "#8fae5d", "#b5485d", "#6c6ea0", "#d9b44a", "#4a4a4a")
INK, FAINT = "#2e2a27", "#d8d2cb"
Axes = Any


def training_curves(runs: Sequence[tuple[str, Log]], path: str | Path, accuracy: str = "accuracy") -> None:
    """Draws loss and test error of successive runs, one behind the other.

    Args:
        runs: name and log of each.
        path: the picture to write; its suffix tells the format.
        accuracy: the test output that holds the share classified rightly.
    """
    errors = [_error(log.tests.get(accuracy, Series())) for _, log in runs]
    start = 0
    with _figure(path, 9, 5.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for (name, log), error, colour in zip(runs, errors, cycle(COLOURS)):
            upper.plot(*_shifted(log.loss, start), color=colour, linewidth=1.2, label=name)
            lower.plot(*_shifted(error, start), ".-", color=colour, linewidth=1.2)
            start += max([1, *log.loss.iterations, *error.iterations])
            for axes in (upper, lower):
                axes.axvline(start, color=FAINT, linewidth=1, zorder=0)
        upper.set(yscale="log", ylabel="training loss", xlim=(0, start))
        # the first test of an untrained net is near chance and would flatten all that follows
        ceiling = np.quantile([value for error in errors for value in error.values] or [100], 0.95)
        lower.set(ylabel="test error (%)", xlabel="iteration, stage after stage", ylim=(0, 1.15 * ceiling))
        figure.legend(loc="outside upper left", ncols=len(runs), frameon=False)
        for axes in (upper, lower):
            _plain(axes)


def epoch_curves(
    stages: Sequence[tuple[str, Sequence[Mapping[str, float]]]], path: str | Path, metric: str = "error"
) -> None:
    """Draws training loss and test result of successive stages, epoch by epoch, one stage behind the other.

    Args:
        stages: name and epochs of each; an epoch has ``loss`` in nats and ``test_<metric>``.
        path: the picture to write; its suffix tells the format.
        metric: ``error``, a share that is drawn in percent, or ``loss`` in nats.
    """
    scale, label = (100, "test error (%)") if metric == "error" else (1, "test loss (nats)")
    start = 0
    tested: list[float] = []
    with _figure(path, 9, 5.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for (name, epochs), colour in zip(stages, cycle(COLOURS)):
            loss = Series(list(range(1, len(epochs) + 1)), [epoch["loss"] for epoch in epochs])
            result = Series(loss.iterations, [scale * epoch[f"test_{metric}"] for epoch in epochs])
            upper.plot(*_shifted(loss, start), ".-", color=colour, linewidth=1.2, label=name)
            lower.plot(*_shifted(result, start), ".-", color=colour, linewidth=1.2)
            start += len(epochs)
            tested += result.values
            for axes in (upper, lower):
                axes.axvline(start + 0.5, color=FAINT, linewidth=1, zorder=0)
        upper.set(yscale="log", ylabel="training loss (nats)", xlim=(0.5, start + 0.5))
        # the first epochs of a fresh net would flatten all that follows
        low, high = (0.0 if metric == "error" else 0.97 * min(tested)), np.quantile(tested, 0.9)
        lower.set(ylabel=label, xlabel="epoch, stage after stage", ylim=(low, high + 0.15 * (high - low) + 1e-3))
        figure.legend(loc="outside upper left", ncols=len(stages), frameon=False)
        for axes in (upper, lower):
            _plain(axes)


def epoch_lines(
    runs: Sequence[tuple[str, Sequence[Mapping[str, float]]]], path: str | Path, metric: str = "error"
) -> None:
    """Draws the test results of several runs over their epochs, in one picture.

    Args:
        runs: name and epochs of each; an epoch has ``test_<metric>``.
        path: the picture to write; its suffix tells the format.
        metric: ``error``, a share that is drawn in percent, or ``loss`` in nats.
    """
    scale, label = (100, "test error (%)") if metric == "error" else (1, "test loss (nats)")
    tested = [scale * epoch[f"test_{metric}"] for _, epochs in runs for epoch in epochs]
    with _figure(path, 9, 4.4) as figure:
        axes = figure.subplots()
        for (name, epochs), colour in zip(runs, cycle(COLOURS)):
            values = [scale * epoch[f"test_{metric}"] for epoch in epochs]
            axes.plot(range(1, len(values) + 1), values, ".-", color=colour, linewidth=1.2, label=name)
        # a few bad epochs would flatten all that matters
        low, high = min(tested), np.quantile(tested, 0.9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(ylabel=label, xlabel="epoch", ylim=(0.97 * low, high + 0.15 * (high - low) + 1e-3))
        figure.legend(loc="outside upper left", ncols=4, frameon=False)
        _plain(axes)


def _shifted(series: Series, start: int) -> tuple[list[int], list[float]]:
    return [start + iteration for iteration in series.iterations], series.values


def _error(accuracy: Series) -> Series:
    return Series(accuracy.iterations, [100 * (1 - value) for value in accuracy.values])


def kept_by_layer(kept: Mapping[str, tuple[int, int]], path: str | Path) -> None:
    """Draws the share of parameters that each layer keeps.

    Args:
        kept: layer -> (parameters that are not zero, all parameters).
        path: the picture to write.
    """
    total = tuple(map(sum, zip(*kept.values(), strict=True)))
    bars = {**kept, "whole net": total}
    shares = [100 * some / every for some, every in bars.values()]
    colours = [COLOURS[1]] * len(kept) + [COLOURS[0]]
    with _figure(path, 8, 1.1 + 0.42 * len(bars)) as figure:
        axes = figure.subplots()
        drawn = axes.barh(list(bars), shares, color=colours, height=0.66)
        labels = [
            f" {share:.2f} %  ({some:,} of {every:,})"
            for share, (some, every) in zip(shares, bars.values(), strict=True)
        ]
        axes.bar_label(drawn, labels, color=INK, fontsize=9)
        axes.set_title("Parameters kept", loc="left", weight="bold")
        axes.set(xlabel="share of the layer (%)", xlim=(0, 1.45 * max(*shares, 1)))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        _plain(axes, grid="x")


def exponent_histogram(weights: Mapping[str, np.ndarray[Any, Any]], path: str | Path) -> None:
    """Draws how often each power of two is used: positive weights upwards, negative ones downwards.

    Args:
        weights: layer -> its parameters, any shape, each zero or a power of two.
        path: the picture to write.
    """
    counts = {name: _count(values) for name, values in weights.items()}
    exponents = sorted({exponent for signs in counts.values() for found in signs for exponent in found})
    with _figure(path, 8, 4.4) as figure:
        axes = figure.subplots()
        heights = np.zeros((2, len(exponents)))
        for (name, signs), colour in zip(counts.items(), cycle(COLOURS)):
            for row, found in enumerate(signs):
                values = [(-1) ** row * found.get(exponent, 0) for exponent in exponents]
                label = None if row else name
                axes.bar(exponents, values, 0.72, heights[row], color=colour, label=label)
                heights[row] += values
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_xticks(exponents, [f"$2^{{{exponent}}}$" for exponent in exponents])
        axes.set_title("Weights by power of two", loc="left", weight="bold")
        axes.set(xlabel="size of the weight", ylabel="negative          positive")
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
        axes.legend(frameon=False)
        _plain(axes)


def _count(values: np.ndarray[Any, Any]) -> tuple[dict[int, int], dict[int, int]]:
    """Counts the exponents of the positive and of the negative values."""
    found = []
    for part in (values[values > 0], -values[values < 0]):
        exponents, counts = np.unique(np.rint(np.log2(part)).astype(int), return_counts=True)
        found.append(dict(zip(exponents.tolist(), counts.tolist(), strict=True)))
    return found[0], found[1]


def _plain(axes: Axes, grid: str = "y") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.grid(axis=grid, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)


@contextmanager
def _figure(path: str | Path, width: float, height: float) -> Iterator[Figure]:
    """Gives a figure of so many inches and writes it, whole or not at all; no global state, no display.

    Raises:
        UsageError: pictures of this ending are not written.
        WriteError: the file cannot be written.
    """
    form = Path(path).suffix.lstrip(".").lower()
    if form not in FigureCanvasAgg.get_supported_filetypes():
        raise UsageError(f"{path}: a picture ends in .png, .svg or .pdf")
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    yield figure
    with atomic_write(path) as file:
        figure.savefig(file, dpi=110, format=form)
