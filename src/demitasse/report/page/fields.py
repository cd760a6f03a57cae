"""Reads values of a JSON file by their place in it; every fault is an error that names the place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from demitasse.errors import FileFormatError, shortened, visible
from demitasse.files import check_readable

_LARGEST = 1e18  # beyond all counts, bytes and seconds


class Field:
    """A value in a JSON file.

    Args:
        value: the value.
        place: the file, and the keys that lead to the value.
    """

    def __init__(self, value: object, place: str) -> None:
        self.value, self.place = value, place

    @classmethod
    def of_file(cls, path: Path) -> Field:
        """Reads a file.

        Raises:
            FileFormatError: the file cannot be read or is not JSON.
        """
        return cls._parsed(_text_of(path), str(path))

    @classmethod
    def lines_of_file(cls, path: Path) -> list[Field]:
        """Reads a file with a value on each line.

        Raises:
            FileFormatError: the file cannot be read, or a line is not JSON.
        """
        lines = _text_of(path).splitlines()
        return [cls._parsed(line, f"{path}: line {number}") for number, line in enumerate(lines, 1)]

    @classmethod
    def _parsed(cls, text: str, place: str) -> Field:
        try:
            return cls(json.loads(text), place)
        except (ValueError, RecursionError) as error:
            raise FileFormatError(f"{place}: not JSON: {error}") from error

    def _refuse(self, expected: str) -> NoReturn:
        raise FileFormatError(f"{self.place} is {shortened(repr(self.value), 80)}; expected {expected}")

    @property
    def _object(self) -> dict[str, object]:
        return self.value if isinstance(self.value, dict) else self._refuse("an object")

    def __contains__(self, key: str) -> bool:
        """Whether the value is an object with this key, and its value is not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def __getitem__(self, key: str) -> Field:
        if key not in self._object:
            raise FileFormatError(f"{self.place}: {key!r} is missing")
        return Field(self._object[key], f"{self.place}: {shortened(visible(key), 80)}")

    def items(self) -> Iterator[tuple[str, Field]]:
        """Yields the keys of an object and their values."""
        for key in self._object:
            yield key, self[key]

    def __iter__(self) -> Iterator[Field]:
        for number, value in enumerate(self.value if isinstance(self.value, list) else self._refuse("a list")):
            yield Field(value, f"{self.place}[{number}]")

    @property
    def text(self) -> str:
        """The value as a text."""
        return self.value if isinstance(self.value, str) else self._refuse("a text")

    @property
    def number(self) -> float:
        """The value as a finite number."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool) or not abs(self.value) < _LARGEST:
            self._refuse("a number")
        return float(self.value)

    @property
    def count(self) -> int:
        """The value as a whole number, 0 or more."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not 0 <= self.value < _LARGEST:
            self._refuse("a whole number, 0 or more")
        return self.value

    @property
    def flag(self) -> bool:
        """The value as true or false."""
        return self.value if isinstance(self.value, bool) else self._refuse("true or false")

    def path(self, folder: Path) -> Path:
        """Returns the path of a file that the value names, which must be inside a folder.

        Raises:
            FileFormatError: the path leads out of the folder, or no file can have it.
        """
        try:
            found = folder / self.text
            inside = folder.resolve() in found.resolve().parents
        except (OSError, ValueError):
            self._refuse("the name of a file")
        return found if inside else self._refuse("a file in the folder of the run")


def _text_of(path: Path) -> str:
    check_readable(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: byte {error.start}: not UTF-8") from error
