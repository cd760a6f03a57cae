"""How tools speak: line by line, to whom the caller names."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Says nothing; the default."""
