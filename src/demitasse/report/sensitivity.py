"""The picture of a sensitivity analysis: which layers bear much, and which little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from demitasse.report.plots import COLOURS, INK, _figure, _plain

_MARKS = "osD^vPX"


def sensitivity_curves(measured: Mapping[str, Any], path: str | Path, metric: str = "error") -> None:
    """Draws the metric against sparsity and against bits, a line a layer.

    Args:
        measured: ``Sensitivity.as_plain()``.
        path: the picture to write; its suffix tells the format.
        metric: what was measured; ``error`` is drawn in per cent.
    """
    factor, unit = (100, "test error (%)") if metric == "error" else (1, f"test {metric}")
    kinds = [
        (key, label)
        for key, label in (("by_sparsity", "share of zeros (%)"), ("by_bits", "bits"))
        if any(layer[key] for layer in measured["layers"])
    ]
    rows = -(-len(measured["layers"]) // 5)
    with _figure(path, 5.2 * len(kinds), 3.6 + 0.22 * rows) as figure:
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, (key, label) in zip(panels, kinds, strict=True):
            _draw(axes, measured["layers"], key, factor)
            axes.axhline(factor * measured["dense"], color=INK, linewidth=1, linestyle=":")
            axes.set(xlabel=label)
            if key == "by_bits":
                axes.invert_xaxis()
                axes.set_xticks(sorted({int(bits) for layer in measured["layers"] for bits in layer[key]}))
            _plain(axes)
        panels[0].set(ylabel=unit)
        panels[0].set_title("One layer at a time, without training", loc="left", weight="bold")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=5, frameon=False, fontsize=8)


def _draw(axes: Any, layers: Sequence[Mapping[str, Any]], key: str, factor: float) -> None:
    scale = 100 if key == "by_sparsity" else 1
    for number, (layer, colour) in enumerate(zip(layers, cycle(COLOURS))):
        axes.plot(
            [scale * float(value) for value in layer[key]],
            [factor * value for value in layer[key].values()],
            color=colour,
            marker=_MARKS[number // len(COLOURS) % len(_MARKS)],
            markersize=3.5,
            linewidth=1.2,
            label=layer["name"],
        )
