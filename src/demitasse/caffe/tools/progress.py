"""A progress bar on terminals, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def progress(items: Sequence[T], what: str) -> Iterable[T]:
    """Yields the items, with a bar on stderr where that is a terminal."""
    return track(items, what, console=Console(stderr=True), disable=not sys.stderr.isatty())
