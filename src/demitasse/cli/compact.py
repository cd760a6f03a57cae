"""Commands for the compact formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from demitasse.caffe.layer_rule import LayerRule
from demitasse.cli.commands import COMPACT, CaffeCommand
from demitasse.cli.convert import Layers, Model, Net, Out
from demitasse.cli.inputs import existing, prototxt

Binary = Annotated[Path, typer.Argument(help="The compact file.", callback=existing)]
BinaryOut = Annotated[Path, typer.Argument(help="The compact file to be written.")]
Normal = Annotated[Path, typer.Argument(help="Prototxt of the plain net.", callback=prototxt)]

# command -> format and help
_ENCODERS = {
    "encode_compact": ("4/4", "Pack a quantized model: 4-bit values, 4-bit gaps."),
    "dns_inq2compact": ("4/4", "Do as encode_compact, under another name."),
    "encode_compact48": ("4/8", "Pack a quantized model: 4-bit values, 8-bit gaps."),
    "sqznet_inq_compact": ("squeezenet", "Pack a quantized model: 4-bit values, zeros too."),
    "dns_model_compress": ("sparse", "Pack a pruned model: the values that were kept, and their positions."),
}
_DECODERS = {
    "decode_compact": ("4/4", "Unpack what encode_compact wrote."),
    "decode_compact48": ("4/8", "Unpack what encode_compact48 wrote."),
    "sqznet_inq_decompact": ("squeezenet", "Unpack what sqznet_inq_compact wrote."),
    "dns_decompress": ("sparse", "Unpack what dns_model_compress wrote."),
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, (codec, text) in _ENCODERS.items():
        _command(app, name, text)(_encoder(codec))
    for name, (codec, text) in _DECODERS.items():
        _command(app, name, text)(_decoder(codec))
    _command(app, "deep_compression_to_caffe", "Make a caffemodel of a '.net' file of Deep Compression.")(
        deep_compression_to_caffe
    )


def _command(app: typer.Typer, name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return app.command(name, help=text, cls=CaffeCommand, rich_help_panel=COMPACT, no_args_is_help=True)


def _encoder(codec: str) -> Callable[..., None]:
    def encode(net: Net, model: Model, out: BinaryOut, layers: Layers = LayerRule.TYPE) -> None:
        from demitasse.caffe.tools import compact_file

        compact_file.encode(codec, net, model, out, layers, print)

    return encode


def _decoder(codec: str) -> Callable[..., None]:
    def decode(net: Normal, binary: Binary, out: Out, layers: Layers = LayerRule.TYPE) -> None:
        from demitasse.caffe.tools import compact_file

        compact_file.decode(codec, net, binary, out, layers, print)

    return decode


def deep_compression_to_caffe(net: Normal, binary: Binary, out: Out) -> None:
    from demitasse.caffe.tools import compact_file

    compact_file.deep_compression_to_caffe(net, binary, out)
    print(f"Model decoded. Saved as {out}")
