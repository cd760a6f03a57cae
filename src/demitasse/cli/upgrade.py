"""Commands that convert files of old Caffe versions to the current form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import CONVERT, CaffeCommand
from demitasse.cli.inputs import existing, prototxt

Out = Annotated[Path, typer.Argument(help="The file to write.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for name, function in (
        ("net_proto_text", net_text),
        ("net_proto_binary", net_binary),
        ("solver_proto_text", solver_text),
    ):
        command = app.command(f"upgrade_{name}", cls=CaffeCommand, rich_help_panel=CONVERT, no_args_is_help=True)
        command(function)


def net_text(
    source: Annotated[Path, typer.Argument(help="Prototxt of a net, of any version.", callback=prototxt)], out: Out
) -> None:
    """Write a net's prototxt in the current form: a layer { } for each layers { }."""
    from demitasse.caffe.tools.upgrade_proto import upgrade_net_text

    upgrade_net_text(source, out, print)


def net_binary(
    source: Annotated[Path, typer.Argument(help="Caffemodel of any version.", callback=existing)], out: Out
) -> None:
    """Write a caffemodel in the current form, with the same blobs."""
    from demitasse.caffe.tools.upgrade_proto import upgrade_net_binary

    upgrade_net_binary(source, out, print)


def solver_text(
    source: Annotated[Path, typer.Argument(help="Prototxt of a solver, of any version.", callback=prototxt)], out: Out
) -> None:
    """Write a solver's prototxt in the current form: type instead of solver_type."""
    from demitasse.caffe.tools.upgrade_proto import upgrade_solver_text

    upgrade_solver_text(source, out, print)
