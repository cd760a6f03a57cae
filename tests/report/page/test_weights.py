"""Pictures of weights: every cell is the weight that it says it is."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from demitasse.report.page.pictures import draw
from demitasse.report.page.weights import BLOCKS, LEVELS, SHARES, blocks, view

RNG = np.random.default_rng(0)


def test_counts_and_histogram() -> None:
    found = view("w", np.array([0.0, 0.5, -0.5, 0.5, 0.3, np.nan, np.inf], np.float32))
    assert (found.total, found.kept, found.distinct, found.powers) == (7, 6, 5, 3)
    # 0.3 is nearest to 2^-2: log2(0.3) = -1.74
    assert found.histogram == {-1: (2, 1), -2: (1, 0)}
    assert found.cells is None


@pytest.mark.parametrize("value", [1.0, 1.4, 1.42, 1e-30, 3e38, 2.0**-149])
def test_the_nearest_exponent_is_that_of_the_logarithm(value: float) -> None:
    (exponent,) = view("w", np.array([value])).histogram
    assert exponent == np.rint(np.log2(value))


@pytest.mark.parametrize("shape", [(3, 4), (4, 1), (20, 1, 5, 5), (5, 7, 3, 3), (64, 2, 3), (2, 3, 2, 3, 2), (10, 500)])
def test_every_weight_has_its_cell(shape: tuple[int, ...]) -> None:
    values = RNG.standard_normal(shape) * (RNG.random(shape) < 0.6)
    found = view("w", values)
    assert found.cells is not None
    height, width, inputs, groups = found.tiling
    gap = int(height * width > 1)
    rows, columns = found.cells.shape
    kernels = values.reshape(*shape[:2], height, width)
    seen = np.zeros(kernels.shape, bool)
    for y in range(rows):
        for x in range(columns):
            # the inverse that the page's script computes
            output = y // (height + gap) * groups + x // (inputs * (width + gap))
            place = output, x % (inputs * (width + gap)) // (width + gap), y % (height + gap), x % (width + gap)
            if place[2] >= height or place[3] >= width or output >= shape[0]:
                continue
            value, code, seen[place] = kernels[place], found.cells[y, x], True
            assert (code == 0) == (value == 0)
            if value:
                assert (code > LEVELS) == (value < 0)
                level = min(found.largest - np.rint(np.log2(abs(value))), LEVELS - 1)
                assert (code - 1) % LEVELS == level
    assert seen.all()


def test_blocks_show_the_share_that_is_kept() -> None:
    cells = np.zeros((6, 6), np.uint8)
    cells[:2, :2] = 1
    cells[0, 2] = 1
    cells[4:, 4:] = 15  # gaps
    small, size = blocks(cells, 3)
    assert size == 2
    assert small[0].tolist() == [BLOCKS + SHARES - 1, BLOCKS + 2, BLOCKS]
    assert small[2, 2] == 15
    assert blocks(cells, 6)[1] == 1


def decoded(png: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(png.removeprefix("data:image/png;base64,"))))


def test_a_picture_has_a_pixel_for_each_weight() -> None:
    values = np.array([[0.0, 0.5, -0.25], [1.0, 0.0, 0.0]])
    picture = draw([view("w", values)], 10**6)["w"]
    image = decoded(picture.png).convert("RGBA")
    assert image.size == (picture.width, picture.height) == (3, 2)
    meanings = dict(picture.legend)
    assert {meanings[image.getpixel(place)] for place in ((1, 0), (2, 0), (0, 1))} == {"2⁻¹", "\N{MINUS SIGN}2⁻²", "2⁰"}
    assert image.getpixel((0, 0))[3] == 0
    assert len(meanings) == 3


def test_pictures_become_smaller_until_they_fit() -> None:
    views = [view(f"w{i}", RNG.standard_normal((600, 500))) for i in range(2)]
    whole = draw(views, 10**7)
    small = draw(views, 20_000)
    assert whole["w0"].block == 1
    assert small["w0"].block > 1
    assert sum(len(picture.png) for picture in small.values()) <= 20_000
    assert all("cells kept" in text for _, text in small["w0"].legend)
    assert draw(views, 100) == {}
