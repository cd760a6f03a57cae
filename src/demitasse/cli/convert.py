"""Commands that convert between plain, pruned (Dynamic Network Surgery) and quantized (INQ) caffemodels."""

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
Target = Annotated[Path, typer.Argument(help="Prototxt of the net to convert it for.", callback=prototxt)]
Out = Annotated[Path, typer.Argument(help="The caffemodel to write.")]
Layers = Annotated[
    LayerRule,
    typer.Option("--layers", help="Select layers by type, or by 'conv', 'ip' or 'fc' in their names (original)."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    commands: dict[str, Callable[..., None]] = {
        "dns_to_normal": dns_to_normal,
        "inq_to_normal": inq_to_normal,
        "model2INQ_raw": model2inq_raw,
        "parse_model": parse_model,
    }
    for name, function in commands.items():
        app.command(name, cls=CaffeCommand, rich_help_panel=CONVERT, no_args_is_help=True)(function)


def dns_to_normal(net: Net, model: Model, target: Target, out: Out, layers: Layers = LayerRule.TYPE) -> None:
    """Convert a pruned model (DNS, also Guo's) to a plain one, and report how much of it was kept."""
    from demitasse.caffe.tools.dns_to_normal import dns_to_normal as convert

    convert(net, model, target, out, layers, print)


def inq_to_normal(net: Net, model: Model, target: Target, out: Out, layers: Layers = LayerRule.TYPE) -> None:
    """Convert a quantized model (INQ) to a plain one by dropping its masks."""
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
    """Convert a plain or pruned model to the starting point of quantization (INQ)."""
    from demitasse.caffe.tools.model2inq_raw import model2inq_raw as convert

    convert(net, model, target, out, zeros_are_pruned, layers, print)


def parse_model(model: Model, out: Annotated[Path, typer.Argument(help="The text file to write.")]) -> None:
    """Write a binary caffemodel as text, including all numbers."""
    from demitasse.caffe.tools.parse_model import parse_model as parse

    parse(model, out, print)
