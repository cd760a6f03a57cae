"""Checks of the fields of a preparation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from demitasse.errors import UsageError
from demitasse.registry import suggest

Numbers = float | Sequence[float]
Sides = tuple[int, int]

# name -> number of channels
CHANNELS: Mapping[str, int] = {"grey": 1, "rgb": 3, "bgr": 3}
# the largest height and width
LARGEST = 4096
# significant digits of numbers: a millionth of a value is less than float32 loses in a net
DIGITS = 6
_FLOAT32 = 3.4e38  # the largest float32 is above it


def check_channels(channels: object) -> None:
    """Checks the name of channels.

    Raises:
        UsageError: there are no such channels.
    """
    if not isinstance(channels, str) or channels not in CHANNELS:
        raise UsageError(f"channels is {channels!r}; {suggest(str(channels), CHANNELS)}")


def checked_size(name: str, size: object) -> Sides:
    """Returns (height, width).

    Raises:
        UsageError: it is something else.
    """
    sides = [_whole(side) for side in size] if isinstance(size, Iterable) else []
    if len(sides) != 2 or not all(1 <= side <= LARGEST for side in sides):
        raise UsageError(f"{name} is {size!r}; expected (height, width), whole numbers from 1 to {LARGEST}")
    return sides[0], sides[1]


def checked_numbers(name: str, given: object, channels: int) -> float | tuple[float, ...]:
    """Returns one number, or one for each channel, with the digits that files store; one number for equal ones.

    Raises:
        UsageError: it is something else, or a number is not finite in float32.
    """
    numbers = [_number(each) for each in given] if isinstance(given, Iterable) else [_number(given)]
    if len(numbers) not in (1, channels) or not all(abs(each) < _FLOAT32 for each in numbers):
        count = "a finite number" if channels == 1 else f"a finite number, or {channels} of them"
        raise UsageError(f"{name} is {given!r}; expected {count}")
    rounded = tuple(float(f"{each:.{DIGITS}g}") for each in numbers)
    return rounded[0] if len(set(rounded)) == 1 else rounded


def _whole(side: object) -> int:
    """Returns a whole number, of Python or numpy; 0 for something else."""
    return side.__index__() if hasattr(side, "__index__") else 0


def _number(number: object) -> float:
    """Returns a number, of Python or numpy; NaN for something else."""
    return float(number) if hasattr(number, "__float__") else float("nan")
