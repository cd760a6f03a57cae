"""Pictures of a compression: training curves, parameters kept in each layer, and powers of two in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from demitasse.arrays import Array
from demitasse.extras import needs
from demitasse.report.canvas import (
    columns_of,
    figure_at,
    log_axis,
    plain_axes,
    reference_line,
    room_for,
    title_of,
)
from demitasse.report.limits import useful_limits
from demitasse.report.log_parser import Series, TrainingLog
from demitasse.report.style import COLOURS, FAINT, GROUND, INK, MARKS

with needs("matplotlib"):
    from matplotlib.ticker import MaxNLocator

_MOST_LAYERS = len(COLOURS)  # in a picture with a colour for each layer
_MANY_BARS = 20
Stage = tuple[str, Series, Series]


def training_curves(
    runs: Sequence[tuple[str, TrainingLog]], path: str | Path, accuracy: str = "accuracy", title: str = "Training"
) -> None:
    """Draws loss and test error of successive runs, one after the other.

    Args:
        runs: (name, log) of each run.
        path: the picture to write; its suffix gives the format.
        accuracy: name of the test output with the accuracy.
        title: title of the picture.
    """
    stages = [(name, log.loss, _error(log.tests.get(accuracy, Series()))) for name, log in runs]
    first = stages[0][2].values if len(stages) > 1 else []
    dense = (f"{stages[0][0]}: {first[-1]:.3g} %", first[-1]) if first else None
    _stage_curves(stages, path, title, ("training loss", "test error (%)", "iteration"), dense)


def epoch_curves(
    stages: Sequence[tuple[str, Sequence[Mapping[str, float]]]],
    path: str | Path,
    metric: str = "error",
    title: str = "Training",
    dense: float | None = None,
) -> None:
    """Draws training loss and test result of successive stages by epoch, one stage after the other.

    Args:
        stages: (name, epochs) of each stage; an epoch has ``loss`` in nats and ``test_<metric>``.
        path: the picture to write; its suffix gives the format.
        metric: ``error``, a share that is drawn in percent, or ``loss`` in nats.
        title: title of the picture.
        dense: the result of the dense net, in the unit of the epochs, drawn as a line.
    """
    scale, label = _scale(metric)
    series = []
    for name, epochs in stages:
        numbers = list(range(1, len(epochs) + 1))
        results = [scale * epoch[f"test_{metric}"] for epoch in epochs]
        series.append((name, Series(numbers, [epoch["loss"] for epoch in epochs]), Series(numbers, results)))
    line = None if dense is None else (f"dense net: {scale * dense:.3g}{' %' if scale > 1 else ''}", scale * dense)
    _stage_curves(series, path, title, ("training loss (nats)", label, "epoch"), line)


def _stage_curves(
    stages: Sequence[Stage],
    path: str | Path,
    title: str,
    labels: tuple[str, str, str],
    dense: tuple[str, float] | None,
) -> None:
    """Draws two panels, loss and results, and a line for the dense net; labels are those of loss, result and steps."""
    loss, result, unit = labels
    with figure_at(path, 9, 6) as figure:
        title_of(figure, title)
        upper, lower = figure.subplots(2, 1, sharex=True)
        start = 0
        for (name, losses, results), colour in zip(stages, cycle(COLOURS)):
            # a stage of one step is a single dot
            upper.plot(*_shifted(losses, start), ".-", color=colour, linewidth=1.2, markersize=3, label=name)
            lower.plot(*_shifted(results, start), ".-", color=colour, linewidth=1.2, markersize=7)
            start += max([1, *losses.iterations, *results.iterations])
            for axes in (upper, lower):
                axes.axvline(start, color=FAINT, linewidth=1, zorder=0)
        values = [*(value for _, _, results in stages for value in results.values), *([dense[1]] if dense else [])]
        upper.set(ylabel=loss, xlim=(-0.02 * start, 1.02 * start))
        lower.set(ylabel=result, xlabel=f"{unit}, stage after stage")
        # the first test of an untrained net is near chance and would flatten the rest
        lower.set_ylim(*useful_limits(values, floor=0.0 if "%" in result else None))
        lower.xaxis.set_major_locator(MaxNLocator(integer=True))
        if dense:
            reference_line(lower, dense[1], dense[0])
        log_axis(upper)
        for axes in (upper, lower):
            plain_axes(axes)
        names = [name for name, _, _ in stages]
        legend = figure.legend(loc="outside lower left", ncols=columns_of(names, 9), frameon=False, markerscale=3)
        for line in legend.get_lines():
            line.set_linewidth(2.5)


def epoch_lines(
    runs: Sequence[tuple[str, Sequence[Mapping[str, float]]]],
    path: str | Path,
    metric: str = "error",
    title: str = "Test results over the epochs",
    dense: float | None = None,
) -> None:
    """Draws the test results of several runs over their epochs, in one panel.

    Args:
        runs: (name, epochs) of each run; an epoch has ``test_<metric>``.
        path: the picture to write; its suffix gives the format.
        metric: ``error``, a share that is drawn in percent, or ``loss`` in nats.
        title: title of the picture.
        dense: the result of the net that all runs started from, in the unit of the axis, drawn as a line.
    """
    scale, label = _scale(metric)
    values = [[scale * epoch[f"test_{metric}"] for epoch in epochs] for _, epochs in runs]
    with figure_at(path, 9, 5) as figure:
        title_of(figure, title)
        axes = figure.subplots()
        for number, ((name, _), own, colour) in enumerate(zip(runs, values, cycle(COLOURS))):
            mark = MARKS[number % len(MARKS)]
            axes.plot(range(1, len(own) + 1), own, color=colour, marker=mark, markersize=4, linewidth=1.2, label=name)
        # a few bad epochs would flatten the rest
        every = [value for own in values for value in own]
        axes.set(ylabel=label, xlabel="epoch", ylim=useful_limits([*every, *([] if dense is None else [dense])]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if dense is not None:
            reference_line(axes, dense, f"dense net: {dense:.4g}")
        plain_axes(axes)
        names = [name for name, _ in runs]
        figure.legend(loc="outside lower left", ncols=columns_of(names, 9), frameon=False)


def _scale(metric: str) -> tuple[float, str]:
    return (100, "test error (%)") if metric == "error" else (1, "test loss (nats)")


def _shifted(series: Series, start: int) -> tuple[list[int], list[float]]:
    return [start + iteration for iteration in series.iterations], series.values


def _error(accuracy: Series) -> Series:
    return Series(accuracy.iterations, [100 * (1 - value) for value in accuracy.values])


def kept_by_layer(kept: Mapping[str, tuple[int, int]], path: str | Path) -> None:
    """Draws the share of parameters that each layer keeps.

    Args:
        kept: layer -> (number of nonzero parameters, number of all parameters).
        path: the picture to write.
    """
    total = tuple(map(sum, zip(*kept.values(), strict=True)))
    bars = {**kept, "whole net": total}
    shares = [100 * some / every for some, every in bars.values()]
    colours = [COLOURS[1]] * len(kept) + [COLOURS[0]]
    height = 0.42 if len(bars) <= _MANY_BARS else 0.26
    with figure_at(path, 8 + room_for(bars), 1.2 + height * len(bars)) as figure:
        title_of(figure, "Parameters kept")
        axes = figure.subplots()
        places = range(len(bars))
        drawn = axes.barh(places, shares, color=colours, height=0.66)
        labels = [
            f"{share:.2f} %  ({some:,} of {every:,})"
            for share, (some, every) in zip(shares, bars.values(), strict=True)
        ]
        # outside the axes if the bars are long; the layout leaves room for them
        axes.bar_label(drawn, labels, color=INK, fontsize=9, padding=4)
        axes.set_yticks(places, list(bars))
        axes.set(xlabel="share of the layer (%)", xlim=(0, max(*shares, 1)), ylim=(len(bars) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
        # each bar has a number, so no grid is needed
        plain_axes(axes, grid=None)


def exponent_histogram(weights: Mapping[str, Array], path: str | Path) -> None:
    """Draws the number of weights for each power of two: positive weights upwards, negative ones downwards.

    Args:
        weights: layer -> its parameters, any shape, each zero or a power of two.
        path: the picture to write.
    """
    counts = _grouped({name: _count(values) for name, values in weights.items()})
    exponents = sorted({exponent for signs in counts.values() for found in signs for exponent in found})
    with figure_at(path, 8 + room_for(counts), 4.6) as figure:
        title_of(figure, "Weights by power of two")
        axes = figure.subplots()
        heights = np.zeros((2, len(exponents)))
        for (name, signs), colour in zip(counts.items(), cycle(COLOURS)):
            for row, found in enumerate(signs):
                values = [(-1) ** row * found.get(exponent, 0) for exponent in exponents]
                label = None if row else name
                # white edges separate colours that look alike to some people
                axes.bar(exponents, values, 0.72, heights[row], color=colour, edgecolor=GROUND, lw=0.5, label=label)
                heights[row] += values
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_xticks(exponents, [f"$2^{{{exponent}}}$" for exponent in exponents])
        axes.set(xlabel="size of the weight", ylabel="weights: negative below, positive above")
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
        plain_axes(axes)
        figure.legend(loc="outside right upper", frameon=False)


Signs = tuple[dict[int, int], dict[int, int]]


def _grouped(counts: Mapping[str, Signs]) -> dict[str, Signs]:
    """Returns the counts of the layers with the most weights, and of all others together."""
    if len(counts) <= _MOST_LAYERS:
        return dict(counts)
    by_size = sorted(counts, key=lambda name: -sum(sum(found.values()) for found in counts[name]))
    large = set(by_size[: _MOST_LAYERS - 1])
    others: Signs = ({}, {})
    for name in by_size[_MOST_LAYERS - 1 :]:
        for sums, found in zip(others, counts[name], strict=True):
            for exponent, count in found.items():
                sums[exponent] = sums.get(exponent, 0) + count
    shown = {name: signs for name, signs in counts.items() if name in large}
    return {**shown, f"{len(counts) - len(large)} others": others}


def _count(values: Array) -> Signs:
    """Counts the exponents of the positive and of the negative values."""
    found = []
    for part in (values[values > 0], -values[values < 0]):
        exponents, counts = np.unique(np.rint(np.log2(part)).astype(int), return_counts=True)
        found.append(dict(zip(exponents.tolist(), counts.tolist(), strict=True)))
    return found[0], found[1]
