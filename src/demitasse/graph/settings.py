"""The settings that a step in a file may have, each with what it may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from demitasse.errors import FileFormatError

# the largest size of an axis, a window or a stride, and number of an axis
LARGEST, MOST_AXES = 1 << 31, 32


class Setting(NamedTuple):
    """A setting that a file may give.

    Attributes:
        check: returns a value from a file in the form that steps have, or raises FileFormatError.
        default: the value if the file gives none; None if it follows from the shapes.
    """

    check: Callable[[object], object]
    default: object = None


def expect(holds: bool, found: str, expected: str) -> None:
    """Raises FileFormatError unless something holds."""
    if not holds:
        raise FileFormatError(f"{found}; expected {expected}")


def is_whole(value: object, least: int = 0, most: int = LARGEST) -> bool:
    """Tells whether a value is a whole number in a range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def whole(least: int, most: int = LARGEST, default: int | None = None) -> Setting:
    """Returns a setting that is a whole number."""

    def check(value: object) -> object:
        expect(is_whole(value, least, most), f"found {value!r}", f"a whole number from {least} to {most:,}")
        return value

    return Setting(check, default)


def windows(least: int, default: int | None = None) -> Setting:
    """Returns a setting that is a size for each axis of a window, or one for all of them."""

    def check(value: object) -> object:
        sizes = [value] if isinstance(value, int) else value
        fits = isinstance(sizes, list) and 1 <= len(sizes) <= 3 and all(is_whole(size, least) for size in sizes)
        expect(fits, f"found {value!r}", f"1 to 3 whole numbers from {least} to {LARGEST:,}")
        return tuple(sizes) if isinstance(sizes, list) else sizes

    return Setting(check, None if default is None else (default,))


def sizes(default: tuple[int, ...] | None) -> Setting:
    """Returns a setting that is a list of sizes, where 0 and -1 have a meaning."""

    def check(value: object) -> object:
        fits = isinstance(value, list) and len(value) <= MOST_AXES and all(is_whole(size, -1) for size in value)
        expect(fits, f"found {value!r}", f"at most {MOST_AXES} whole numbers from -1 to {LARGEST:,}")
        return value

    return Setting(check, default)


def as_number(value: object) -> float:
    """Returns a number from a file; those that JSON lacks are words there.

    Raises:
        FileFormatError: it is none.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    expect(is_number or value in ("inf", "-inf", "nan"), f"found {value!r}", "a number")
    return value if isinstance(value, int | float) else float(str(value))


def number(default: float) -> Setting:
    """Returns a setting that is a number."""
    return Setting(as_number, default)


def numbers() -> Setting:
    """Returns a setting that is a list of numbers."""

    def check(value: object) -> object:
        if not isinstance(value, list):
            raise FileFormatError(f"found {value!r}; expected a list of numbers")
        return [as_number(each) for each in value]

    return Setting(check, ())


def choice(*names: str) -> Setting:
    """Returns a setting that is one of a few words, by default the first one."""

    def check(value: object) -> object:
        expect(value in names, f"found {value!r}", " or ".join(names))
        return value

    return Setting(check, names[0])


def flag(default: bool) -> Setting:
    """Returns a setting that is true or false."""

    def check(value: object) -> object:
        expect(isinstance(value, bool), f"found {value!r}", "true or false")
        return value

    return Setting(check, default)


def axis(default: int | None = None) -> Setting:
    """Returns a setting that is the number of an axis."""
    return whole(0, MOST_AXES, default)
