"""The page that describes the format says the constants that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from demitasse.packed import tensor
from demitasse.packed.header import PRIMER, VERSION
from demitasse.packed.kernels import weights

PAGE = (Path(__file__).parents[2] / "docs/demi_format.md").read_text(encoding="utf-8")


def block(before: str) -> str:
    """Returns the first block of code behind a text."""
    return PAGE.split(before, 1)[1].split("```text\n", 1)[1].split("```", 1)[0]


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", text)]


def test_the_primer() -> None:
    assert block("The primer").replace("\n", "").encode().decode("unicode_escape").encode("latin-1") == PRIMER
    assert f"versions 1 and {VERSION}" in PAGE.splitlines()[0]


def test_first_weights() -> None:
    assert numbers(block("three rows of weights")) == weights._PRESENCE[0].tolist()
    assert np.array_equal(np.reshape(numbers(block("a row of weights for signs")), (2, -1)), weights._VALUES)


def test_types() -> None:
    listed = re.findall(r"(\w+) \| (\d+) \|", PAGE.split("CRC-32 of its bytes", 1)[1].split("### Codecs")[0])
    assert {int(number): name for name, number in listed} == dict(enumerate(kind.name for kind in tensor.DTYPES))
