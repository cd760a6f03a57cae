"""The text of a preparation, as files store it: ``grey 28x28 33.3184 0.0127281``.

Two to four words: the channels; the size, or ``size:crop``; the mean; the scale. What is left out is 0 and 1. A size is
``height x width``; numbers of several channels are separated by commas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from demitasse.errors import FileFormatError, UsageError, visible
from demitasse.preparation.checks import DIGITS, Numbers, Sides
from demitasse.preparation.preparation import Preparation

_LONGEST = 200  # characters of a valid text
_DEFAULTS = ([0.0], [1.0])  # mean and scale
_SIDES = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})")
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?(e[+-][0-9]{1,2})?")
_FORM = "expected 'channels size[:crop] [mean [scale]]', such as 'grey 28x28 33.3184 0.0127281'"


def to_text(preparation: Preparation) -> str:
    """Returns the text of a preparation, as short as it can be."""
    sizes = [preparation.size] if preparation.crop is None else [preparation.size, preparation.crop]
    words = [preparation.channels, ":".join("x".join(map(str, size)) for size in sizes)]
    numbers = [_numbers(preparation.mean), _numbers(preparation.scale)]
    if numbers[1] == "1":
        numbers = numbers[:1] if numbers[0] != "0" else []
    return " ".join(words + numbers)


def of_text(text: str) -> Preparation:
    """Returns the preparation of a text.

    Raises:
        FileFormatError: the text has another form, or a value that is not valid.
    """
    words = text.split(" ")
    if len(text) > _LONGEST or not 2 <= len(words) <= 4:
        raise _error(text, _FORM)
    sizes = [sides for word in words[1].split(":") if (sides := _sides(word))]
    numbers = [_floats(word) for word in words[2:]]
    if len(sizes) != words[1].count(":") + 1 or len(sizes) > 2 or not all(numbers):
        raise _error(text, _FORM)
    mean, scale = [*numbers, *_DEFAULTS[len(numbers) :]]
    size, crop = sizes[0], sizes[1] if len(sizes) > 1 else None
    try:
        return Preparation(words[0], size, mean, scale, crop)
    except UsageError as error:
        raise _error(text, str(error)) from error


def _error(text: str, reason: str) -> FileFormatError:
    found = visible(text[:_LONGEST]) + "..." * (len(text) > _LONGEST)
    return FileFormatError(f"found {found}: {reason}")


def _numbers(numbers: Numbers) -> str:
    return ",".join(f"{each:.{DIGITS}g}" for each in (numbers if isinstance(numbers, Sequence) else (numbers,)))


def _sides(word: str) -> Sides | None:
    """Returns the (height, width) of a word; None for a word of another form."""
    found = _SIDES.fullmatch(word)
    return (int(found[1]), int(found[2])) if found else None


def _floats(word: str) -> list[float]:
    """Returns the numbers of a word; an empty list for a word of another form."""
    parts = word.split(",")
    return [float(part) for part in parts] if all(map(_NUMBER.fullmatch, parts)) else []
