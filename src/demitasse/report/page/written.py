"""Writes the page of a run at its end, as ``compress`` and ``demo`` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from demitasse.errors import MissingPackageError

PAGE = "report.html"


def write_page_of(folder: Path, say: Callable[[str], None]) -> None:
    """Writes report.html into the folder of a run, and says where it is; or which packages it needs.

    Args:
        folder: the folder.
        say: called with a line.
    """
    try:
        from demitasse.report.page.page import write_page

        write_page([folder], folder / PAGE)
    except MissingPackageError as error:
        say(f"{folder / PAGE} was not written: {error}")
    else:
        say(f"report: {folder / PAGE}")
