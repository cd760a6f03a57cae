"""report: a page with the results of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import MORE, Command
from demitasse.cli.inputs import all_existing


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("report", cls=Command, rich_help_panel=MORE, no_args_is_help=True)(report)


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of compress and demo, .demi files, logs of training.",
            callback=all_existing,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("report.html"),
) -> None:
    """Write a page that shows runs, logs and packed files, and compares them."""
    from demitasse.report.page.page import write_page
    from demitasse.report.page.sentences import size

    written = write_page(runs, out)
    print(f"{out}: {size(written)}")
