"""Draws results of bench_shrink.py: what nets lose against the bytes of their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes

from demitasse.report.canvas import figure_at, plain_axes, reference_line
from demitasse.report.style import COLOURS, INK, MARKS

_NAMES = {
    ("demitasse.shrink", "uniform"): "shrink, uniform grid",
    ("demitasse.shrink", "pow2"): "shrink, powers of two",
    ("NNCodec", ""): "NNCodec 2.1.3, its own quantization",
}


class Measured(Protocol):
    """What is drawn of a result."""

    @property
    def grid(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def top1(self) -> float: ...
    @property
    def same(self) -> float: ...


def draw(results: Sequence[Measured], path: Path) -> None:
    """Draws accuracy and equal first guesses against bytes, for results of one net with a size as their target."""
    dense = next(one for one in results if one.method == "dense")
    with figure_at(path, 9, 4.2) as figure:
        left, right = figure.subplots(1, 2)
        _curves(left, results, "top1", "top-1 accuracy (%)", "Right first guesses")
        reference_line(left, dense.top1, f"uncompressed: {dense.bytes / 1000:,.0f} kB")
        _curves(right, results, "same", "share of the tests (%)", "Same first guess as before")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)


def _curves(axes: Axes, results: Sequence[Measured], value: str, label: str, title: str) -> None:
    for number, ((method, grid), name) in enumerate(_NAMES.items()):
        found = [one for one in results if (one.method, one.grid) == (method, grid)]
        points = sorted((one.bytes / 1000, getattr(one, value)) for one in found if not one.target.isdigit())
        if points:
            axes.plot(*zip(*points, strict=True), "-", marker=MARKS[number], color=COLOURS[number], label=name)
    axes.set(xlabel="kB of the whole file", ylabel=label)
    axes.set_title(title, loc="left", weight="bold", color=INK)
    plain_axes(axes)
