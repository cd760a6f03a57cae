"""Commands for the compact formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from demitasse.caffe.tools.layer_rule import LayerRule
from demitasse.cli.convert import Layers, Model, Net, Out

Binary = Annotated[Path, typer.Argument(help="The compact file.")]
BinaryOut = Annotated[Path, typer.Argument(help="The compact file to be written.")]
Normal = Annotated[Path, typer.Argument(help="Prototxt of the plain net.")]

# command -> format and help
_ENCODERS = {
    "encode_compact": ("4/4", "Packs a quantized model: 4-bit values, 4-bit gaps."),
    "dns_inq2compact": ("4/4", "Another name of encode_compact."),
    "encode_compact48": ("4/8", "Packs a quantized model: 4-bit values, 8-bit gaps."),
    "sqznet_inq_compact": ("squeezenet", "Packs a quantized model: 4-bit values, zeros too."),
    "dns_model_compress": ("sparse", "Packs a pruned model: the values that were kept, and their positions."),
}
_DECODERS = {
    "decode_compact": ("4/4", "Unpacks what encode_compact wrote."),
    "decode_compact48": ("4/8", "Unpacks what encode_compact48 wrote."),
    "sqznet_inq_decompact": ("squeezenet", "Unpacks what sqznet_inq_compact wrote."),
    "dns_decompress": ("sparse", "Unpacks what dns_model_compress wrote."),
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, (codec, text) in _ENCODERS.items():
        app.command(name, help=text, no_args_is_help=True)(_encoder(codec))
    for name, (codec, text) in _DECODERS.items():
        app.command(name, help=text, no_args_is_help=True)(_decoder(codec))
    app.command("deep_compression_to_caffe", no_args_is_help=True)(deep_compression_to_caffe)


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
    """Makes a caffemodel of a '.net' file of Deep Compression."""
    from demitasse.caffe.tools import compact_file

    compact_file.deep_compression_to_caffe(net, binary, out)
    print(f"Model decoded. Saved as {out}")
