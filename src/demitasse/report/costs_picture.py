"""The picture of a net in C: flash and cycles of each layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from demitasse.report.canvas import figure_at, plain_axes, room_for, title_of
from demitasse.report.style import COLOURS, INK


def costs_picture(
    title: str, layers: Sequence[str], columns: Sequence[tuple[str, Sequence[int]]], path: str | Path
) -> None:
    """Draws a bar for each layer in each of some columns.

    Args:
        title: of the picture.
        layers: the names of the layers.
        columns: what is measured, such as ``bytes of flash``, and a number for each layer.
        path: the picture to write; its suffix gives the format.

    Raises:
        UsageError: the suffix is not that of a picture.
    """
    places = range(len(layers))
    width = 5 * len(columns) + room_for(layers)
    with figure_at(path, width, 1.4 + 0.3 * len(layers)) as figure:
        title_of(figure, title)
        for axes, colour, (label, numbers) in zip(
            figure.subplots(1, len(columns), sharey=True, squeeze=False)[0], COLOURS, columns, strict=False
        ):
            axes.barh(places, numbers, color=colour, height=0.7)
            for place, number in zip(places, numbers, strict=True):
                axes.annotate(
                    f"{number:,}", (number, place), (6, 0), textcoords="offset points", va="center", fontsize=8.5,
                    color=INK, annotation_clip=False,
                )  # fmt: skip
            axes.set_yticks(places, layers)
            axes.set(xlabel=label, ylim=(len(layers) - 0.4, -0.6))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.tick_params(axis="y", length=0)
            plain_axes(axes, grid=None)
