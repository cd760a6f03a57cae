"""draw_net: draws a picture of a net."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import LOOK, CaffeCommand
from demitasse.cli.inputs import prototxt as prototxt_file
from demitasse.errors import UsageError


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("draw_net", cls=CaffeCommand, rich_help_panel=LOOK, no_args_is_help=True)(draw_net)


def draw_net(
    net: Annotated[Path, typer.Argument(help="The net's prototxt.", callback=prototxt_file)],
    out: Annotated[Path, typer.Argument(help="The picture to write: .png, .svg or .pdf.")],
    rankdir: Annotated[str, typer.Option(help="Direction of the data flow: LR, TB, BT or RL.")] = "LR",
    phase: Annotated[str, typer.Option(help="Phase whose layers to draw: TRAIN, TEST or ALL.")] = "ALL",
    display_lrm: Annotated[bool, typer.Option("--display_lrm", help="Show learning rate multipliers.")] = False,
) -> None:
    """Draw a picture of a net."""
    from demitasse.caffe.text import prototxt
    from demitasse.pycaffe import draw
    from demitasse.pycaffe.proto import caffe_pb2

    phases = {"TRAIN": caffe_pb2.TRAIN, "TEST": caffe_pb2.TEST, "ALL": None}
    if phase not in phases:
        raise UsageError(f"--phase {phase}: expected TRAIN, TEST or ALL")
    message = prototxt.parse(prototxt.read_text(net), caffe_pb2.NetParameter(), str(net))
    draw.draw_net_to_file(message, str(out), rankdir, phases[phase], display_lrm)
    print(f"Wrote {out}")
