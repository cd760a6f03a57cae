from __future__ import annotations

import re
from io import BytesIO

import pytest
from PIL import Image

from demitasse.report.net_picture import Box, Section, draw

BOXES = [
    Box((Section("in $x$ <&>", ("Input",), "#4a4a4a"),)),
    Box((Section("conv", ("Convolution",), "#c8843c"), Section("", ("relu",), "#8fae5d"))),
    Box((Section("loss", (), "#b5485d"),)),
]
EDGES = {(0, 1): "data", (1, 2): "", (0, 2): "label"}


def test_texts_stand_in_the_picture() -> None:
    svg = draw(BOXES, EDGES, "TB", "svg", "The net").decode()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"in $x$ &lt;&amp;&gt;", "Input", "conv", "relu", "loss", "data", "label", "The net"} <= set(texts)
    assert svg == draw(BOXES, EDGES, "TB", "svg", "The net").decode()


def test_the_colours_of_kinds() -> None:
    image = Image.open(BytesIO(draw(BOXES, EDGES))).convert("RGB")
    found = {rgb for count, rgb in image.getcolors(1 << 24) if count > 300}
    for box in BOXES:
        for section in box.sections:
            parts = [int(section.colour[i : i + 2], 16) for i in (1, 3, 5)]
            tint = [round(255 - 0.3 * (255 - part)) for part in parts]
            assert any(max(abs(a - b) for a, b in zip(tint, rgb, strict=True)) <= 1 for rgb in found)


@pytest.mark.parametrize("count", [1, 40])
def test_long_nets(count: int) -> None:
    boxes = [Box((Section("a long name of a layer " * 5, ("ReLU",), "#8fae5d"),)) for _ in range(count)]
    picture = draw(boxes, {(index, index + 1): "" for index in range(count - 1)}, "LR", "png")
    image = Image.open(BytesIO(picture))
    assert max(image.size) <= 30_001
