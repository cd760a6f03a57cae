"""Commands between plain nets and those of Dynamic Network Surgery and Incremental Network Quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.caffe.tools.layer_rule import LayerRule

Net = Annotated[Path, typer.Argument(help="Prototxt of the model.")]
Model = Annotated[Path, typer.Argument(help="The caffemodel.")]
Target = Annotated[Path, typer.Argument(help="Prototxt of the net that it is meant for.")]
Out = Annotated[Path, typer.Argument(help="The caffemodel to be written.")]
Layers = Annotated[
    LayerRule,
    typer.Option("--layers", help="Choose layers by type, or by 'conv', 'ip', 'fc' in their names (original)."),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("dns_to_normal", no_args_is_help=True)(dns_to_normal)
    app.command("inq_to_normal", no_args_is_help=True)(inq_to_normal)
    app.command("model2INQ_raw", no_args_is_help=True)(model2inq_raw)
    app.command("parse_model", no_args_is_help=True)(parse_model)


def dns_to_normal(net: Net, model: Model, target: Target, out: Out, layers: Layers = LayerRule.TYPE) -> None:
    """Makes a plain model of a pruned one and says how much was kept; reads Guo's models, too."""
    from demitasse.caffe.tools.dns_to_normal import dns_to_normal as convert

    convert(net, model, target, out, layers, print)


def inq_to_normal(net: Net, model: Model, target: Target, out: Out, layers: Layers = LayerRule.TYPE) -> None:
    """Makes a plain model of a quantized one: the masks are dropped."""
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
    """Makes a model for quantization to start from: of a plain one, or of a pruned one."""
    from demitasse.caffe.tools.model2inq_raw import model2inq_raw as convert

    convert(net, model, target, out, zeros_are_pruned, layers, print)


def parse_model(model: Model, out: Annotated[Path, typer.Argument(help="The text to be written.")]) -> None:
    """Writes a binary caffemodel as text, all numbers included."""
    from demitasse.caffe.tools.parse_model import parse_model as parse

    parse(model, out, print)
