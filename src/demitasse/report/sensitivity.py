"""The picture of a sensitivity analysis: how much each layer can be compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demitasse.report.canvas import columns_of, figure_at, plain_axes, reference_line, title_of
from demitasse.report.style import COLOURS, MARKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def sensitivity_curves(measured: Mapping[str, Any], path: str | Path, metric: str = "error") -> None:
    """Draws the metric against sparsity and against bits, with a line for each layer.

    Args:
        measured: the result of ``Sensitivity.as_plain()``.
        path: the picture to write; its suffix gives the format.
        metric: name of the metric; ``error`` is drawn in percent.
    """
    factor, unit = (100, "test error (%)") if metric == "error" else (1, f"test {metric}")
    kinds = [
        (key, label)
        for key, label in (("by_sparsity", "share of zeros (%)"), ("by_bits", "bits"))
        if any(layer[key] for layer in measured["layers"])
    ]
    width = 5.2 * max(len(kinds), 1)
    columns = columns_of([layer["name"] for layer in measured["layers"]], width)
    with figure_at(path, width, 3.9 + 0.2 * -(-len(measured["layers"]) // columns)) as figure:
        title_of(figure, "One layer at a time, without training")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, (key, label) in zip(panels, kinds, strict=True):
            _draw(axes, measured["layers"], key, factor)
            reference_line(axes, factor * measured["dense"], f"unchanged: {factor * measured['dense']:.3g}")
            axes.set(xlabel=label)
            if key == "by_bits":
                axes.invert_xaxis()
                axes.set_xticks(sorted({int(bits) for layer in measured["layers"] for bits in layer[key]}))
            plain_axes(axes)
        panels[0].set(ylabel=unit)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=8)


def _draw(axes: Axes, layers: Sequence[Mapping[str, Any]], key: str, factor: float) -> None:
    scale = 100 if key == "by_sparsity" else 1
    for number, (layer, colour) in enumerate(zip(layers, cycle(COLOURS))):
        axes.plot(
            [scale * float(value) for value in layer[key]],
            [factor * value for value in layer[key].values()],
            color=colour,
            marker=MARKS[(number + number // len(COLOURS)) % len(MARKS)],
            markersize=3.5,
            linewidth=1.2,
            label=layer["name"],
        )
