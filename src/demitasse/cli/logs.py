"""parse_log, plot_log: what training runs said, as tables and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import LOOK, CaffeCommand, Command
from demitasse.cli.inputs import all_but_the_last, existing
from demitasse.errors import UsageError


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("parse_log", cls=CaffeCommand, rich_help_panel=LOOK, no_args_is_help=True)(parse_log)
    app.command("plot_log", cls=Command, rich_help_panel=LOOK, no_args_is_help=True)(plot_log)


def parse_log(
    log: Annotated[Path, typer.Argument(help="The log of demitasse train, or of caffe train.", callback=existing)],
    folder: Annotated[Path, typer.Argument(metavar="OUTDIR", help="Where the tables go.")],
    delimiter: Annotated[str, typer.Option(help="Between columns.")] = ",",
) -> None:
    """Write LOG.train and LOG.test, tables of what the nets said."""
    from demitasse.report.log_tables import write_tables

    for path in write_tables(log, folder, delimiter):
        print(f"Wrote {path}")


def plot_log(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="LOG... OUT", help="Logs, then the picture: .png, .svg.", callback=all_but_the_last),
    ],
    show: Annotated[
        str, typer.Option(help="Panels, separated by commas: loss, train_loss, test_loss, lr, accuracy, ...")
    ] = "",
    x: Annotated[str, typer.Option("--x", help="iterations or seconds.")] = "iterations",
    log_scale: Annotated[bool, typer.Option("--log_scale", help="Losses on a logarithmic axis.")] = False,
) -> None:
    """Draw training runs: loss, test results and learning rate."""
    if len(files) < 2:
        raise UsageError("usage: demitasse plot_log LOG... OUT.png")
    from demitasse.report.log_parser import read_log
    from demitasse.report.log_plots import plot_logs

    *logs, out = files
    runs = [(name, read_log(path)) for name, path in zip(_names(logs), logs, strict=True)]
    plot_logs(runs, out, [name for name in show.split(",") if name], x, log_scale)
    print(f"Wrote {out}")


def _names(paths: list[Path]) -> list[str]:
    """Returns the files' names without their endings; with the folder where that is not enough to tell them apart."""
    short = [path.stem for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]
