"""The callback through which tools report, line by line."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Ignores the line; the default."""
