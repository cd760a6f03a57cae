"""Commands between plain nets and those of Dynamic Network Surgery and Incremental Network Quantization."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from demitasse.caffe.layer_rule import LayerRule
from demitasse.cli.commands import CONVERT, CaffeCommand
from demitasse.cli.inputs import existing, prototxt

Net = Annotated[Path, typer.Argument(help="Prototxt of the model.", callback=prototxt)]
Model = Annotated[Path, typer.Argument(help="The caffemodel.", callback=existing)]
Target = Annotated[Path, typer.Argument(help="Prototxt of the net that it is meant for.", callback=prototxt)]
Out = Annotated[Path, typer.Argument(help="The caffemodel to be written.")]
Layers = Annotated[
    LayerRule,
    typer.Option("--layers", help="Choose layers by type, or by 'conv', 'ip', 'fc' in their names (original)."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    commands: dict[str, Callable[..., None]] = {
        "dns_to_normal": dns_to_normal,
        "inq_to_normal": inq_to_normal,
        "model2INQ_raw": model2inq_raw,
        "parse_model": parse_model,
    }
    for name, function in commands.items():
        app.command(name, cls=CaffeCommand, rich_help_panel=CONVERT, no_args_is_help=True)(function)


def dns_to_normal(net: Net, model: Model, target: Target, out: Out, layers: Layers = LayerRule.TYPE) -> None:
    """Make a plain model of a pruned one, Guo's among them, and say how much was kept."""
    from demitasse.caffe.tools.dns_to_normal import dns_to_normal as convert

    convert(net, model, target, out, layers, print)


def inq_to_normal(net: Net, model: Model, target: Target, out: Out, layers: Layers = LayerRule.TYPE) -> None:
    """Make a plain model of a quantized one: drop the masks."""
    from demitasse.caffe.tools.inq_to_normal import inq_to_normal as convert

    convert(net, model, target, out, layers, print)


def model2inq_raw(
    net: Net,
    model: Model,
    target: Target,
    out: Out,
    zeros_are_pruned: Annotated[
        bool, typer.Option("--zeros-are-pruned", help="Freeze the zeros of plain layers.")
    ] = False,
    layers: Layers = LayerRule.TYPE,
) -> None:
    """Make a model for quantization to start from, of a plain or a pruned one."""
    from demitasse.caffe.tools.model2inq_raw import model2inq_raw as convert

    convert(net, model, target, out, zeros_are_pruned, layers, print)


def parse_model(model: Model, out: Annotated[Path, typer.Argument(help="The text to be written.")]) -> None:
    """Write a binary caffemodel as text, all numbers included."""
    from demitasse.caffe.tools.parse_model import parse_model as parse

    parse(model, out, print)
