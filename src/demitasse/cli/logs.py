"""parse_log, plot_log: logs of training runs as tables and as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import LOOK, CaffeCommand, Command
from demitasse.cli.inputs import all_but_the_last, existing
from demitasse.errors import UsageError


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("parse_log", cls=CaffeCommand, rich_help_panel=LOOK, no_args_is_help=True)(parse_log)
    app.command("plot_log", cls=Command, rich_help_panel=LOOK, no_args_is_help=True)(plot_log)


def parse_log(
    log: Annotated[Path, typer.Argument(help="The log of demitasse train, or of caffe train.", callback=existing)],
    folder: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder for the tables.")],
    delimiter: Annotated[str, typer.Option(help="Delimiter between columns.")] = ",",
) -> None:
    """Write the tables LOG.train and LOG.test of the nets' outputs."""
    from demitasse.report.log_tables import write_tables

    for path in write_tables(log, folder, delimiter):
        print(f"Wrote {path}")


def plot_log(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG... OUT", help="Logs, then the picture to write (.png, .svg).", callback=all_but_the_last
        ),
    ],
    show: Annotated[
        str, typer.Option(help="Panels to show, separated by commas: loss, train_loss, test_loss, lr, accuracy, ...")
    ] = "",
    x: Annotated[str, typer.Option("--x", help="Horizontal axis: iterations or seconds.")] = "iterations",
    log_scale: Annotated[bool, typer.Option("--log_scale", help="Show losses on a logarithmic axis.")] = False,
) -> None:
    """Draw training runs: loss, test results and learning rate."""
    if len(files) < 2:
        raise UsageError("usage: demitasse plot_log LOG... OUT.png")
    from demitasse.files import short_names
    from demitasse.report.log_parser import read_log
    from demitasse.report.log_plots import plot_logs

    *logs, out = files
    runs = [(name, read_log(path)) for name, path in zip(short_names(logs), logs, strict=True)]
    plot_logs(runs, out, [name for name in show.split(",") if name], x, log_scale)
    print(f"Wrote {out}")
