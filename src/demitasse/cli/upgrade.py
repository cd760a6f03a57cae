"""Commands that bring files of old Caffes up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Argument(help="The file to be written.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("upgrade_net_proto_text", no_args_is_help=True)(net_text)
    app.command("upgrade_net_proto_binary", no_args_is_help=True)(net_binary)
    app.command("upgrade_solver_proto_text", no_args_is_help=True)(solver_text)


def net_text(source: Annotated[Path, typer.Argument(help="Prototxt of a net of any age.")], out: Out) -> None:
    """Writes a net's prototxt in today's form: one layer { } for each of layers { }."""
    from demitasse.caffe.tools.upgrade_proto import upgrade_net_text

    upgrade_net_text(source, out, print)


def net_binary(source: Annotated[Path, typer.Argument(help="Caffemodel of any age.")], out: Out) -> None:
    """Writes a caffemodel in today's form, with the same blobs."""
    from demitasse.caffe.tools.upgrade_proto import upgrade_net_binary

    upgrade_net_binary(source, out, print)


def solver_text(source: Annotated[Path, typer.Argument(help="Prototxt of a solver of any age.")], out: Out) -> None:
    """Writes a solver's prototxt in today's form: type instead of solver_type."""
    from demitasse.caffe.tools.upgrade_proto import upgrade_solver_text

    upgrade_solver_text(source, out, print)
