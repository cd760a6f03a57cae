"""Weights as PNG pictures, whose colours say sign and size, and which stay sharp however large they are shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from demitasse.arrays import Array
from demitasse.extras import needs
from demitasse.report.page.sentences import power
from demitasse.report.page.weights import BLOCKS, LARGEST_SIDE, LEVELS, SHARES, WeightView, blocks

with needs("PIL", extra="report"):
    from PIL import Image

_POSITIVE, _NEGATIVE, _BLOCK = (205, 112, 22), (22, 124, 168), (143, 106, 72)  # seen on light and on dark grounds
_FAINTEST = 90  # opacity of the smallest weights, of 255
_SMALLEST_SIDE = 64
Colour = tuple[int, int, int, int]


@dataclass(frozen=True)
class Picture:
    """A picture of a tensor.

    Attributes:
        png: the file, as a ``data:`` address.
        width: columns.
        height: rows.
        block: number of cells along a block; 1 if each cell is a weight.
        legend: (colour as red, green, blue and opacity, its meaning) of what is not a zero.
    """

    png: str
    width: int
    height: int
    block: int
    legend: Sequence[tuple[Colour, str]]


def draw(views: Sequence[WeightView], budget: int) -> dict[str, Picture]:
    """Draws tensors, all with the same largest side, which becomes smaller until they fit.

    Args:
        views: the tensors; those without cells are left out.
        budget: the most characters of all pictures together.

    Returns:
        Name of a tensor -> its picture; empty if even the smallest ones do not fit.
    """
    side = LARGEST_SIDE
    while side >= _SMALLEST_SIDE:
        found = {view.name: _picture(view.cells, view.largest, side) for view in views if view.cells is not None}
        if sum(len(picture.png) for picture in found.values()) <= budget:
            return found
        side //= 2
    return {}


def _picture(cells: Array, largest: int, side: int) -> Picture:
    codes, block = blocks(cells, side)
    meanings = _meanings(largest) if block == 1 else _shares(block)
    colours = np.zeros((256, 4), np.uint8)
    for code, (colour, _) in meanings.items():
        colours[code] = colour
    image = Image.fromarray(codes, "P")
    image.putpalette(colours[: BLOCKS + SHARES].tobytes(), "RGBA")
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    legend = [meanings[code] for code in sorted(meanings) if np.any(codes == code)]
    return Picture(address, codes.shape[1], codes.shape[0], block, legend)


def _meanings(largest: int) -> dict[int, tuple[Colour, str]]:
    found: dict[int, tuple[Colour, str]] = {}
    for level in range(LEVELS):
        opacity = 255 - (255 - _FAINTEST) * level // (LEVELS - 1)
        size = f"{power(largest - level)}{' or smaller' if level == LEVELS - 1 else ''}"
        found[1 + level] = (*_POSITIVE, opacity), size
        found[1 + LEVELS + level] = (*_NEGATIVE, opacity), f"\N{MINUS SIGN}{size}"
    return found


def _shares(block: int) -> dict[int, tuple[Colour, str]]:
    texts = [f"up to {share / (SHARES - 1):.0%}".replace("%", " %") for share in range(1, SHARES)]
    return {
        BLOCKS + number: ((*_BLOCK, 40 + 215 * number // (SHARES - 1)), f"{text} of {block} x {block} cells kept")
        for number, text in enumerate(texts, 1)
    }
