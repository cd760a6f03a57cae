"""Commands that read and write the compact formats."""

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
BinaryOut = Annotated[Path, typer.Argument(help="The compact file to write.")]
Normal = Annotated[Path, typer.Argument(help="Prototxt of the plain net.", callback=prototxt)]

# command -> format and help
_ENCODERS = {
    "encode_compact": ("4/4", "Pack a quantized model: 4-bit values, 4-bit gaps."),
    "dns_inq2compact": ("4/4", "Pack a quantized model; another name of encode_compact."),
    "encode_compact48": ("4/8", "Pack a quantized model: 4-bit values, 8-bit gaps."),
    "sqznet_inq_compact": ("squeezenet", "Pack a quantized model: 4-bit values, including zeros."),
    "dns_model_compress": ("sparse", "Pack a pruned model: the kept values and their positions."),
}
_DECODERS = {
    "decode_compact": ("4/4", "Unpack a file written by encode_compact."),
    "decode_compact48": ("4/8", "Unpack a file written by encode_compact48."),
    "sqznet_inq_decompact": ("squeezenet", "Unpack a file written by sqznet_inq_compact."),
    "dns_decompress": ("sparse", "Unpack a file written by dns_model_compress."),
}


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for name, (codec, text) in _ENCODERS.items():
        _command(app, name, text)(_encoder(codec))
    for name, (codec, text) in _DECODERS.items():
        _command(app, name, text)(_decoder(codec))
    command = app.command("deep_compression_to_caffe", cls=CaffeCommand, rich_help_panel=COMPACT, no_args_is_help=True)
    command(deep_compression_to_caffe)


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
    """Convert a '.net' file of Deep Compression to a caffemodel."""
    from demitasse.caffe.tools import compact_file

    compact_file.deep_compression_to_caffe(net, binary, out)
    print(f"Model decoded. Saved as {out}")
