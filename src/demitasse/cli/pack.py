"""pack, unpack, inspect: make .demi files of other files, convert them back, and show their contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from demitasse.caffe.layer_rule import LayerRule
from demitasse.cli import preparing
from demitasse.cli.commands import FILES, Command
from demitasse.cli.inputs import existing, prototxt
from demitasse.errors import UsageError, shortened
from demitasse.files import is_stream

Format = Annotated[
    str | None, typer.Option("--format", help="Format of the other file, if its extension does not determine it.")
]
Layers = Annotated[
    LayerRule,
    typer.Option("--layers", help="Layers that compact files contain: by type, or by their names (original)."),
]
Packed = Annotated[Path, typer.Argument(metavar="FILE", help="The .demi file.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for name, function in (("pack", pack), ("unpack", unpack), ("inspect", inspect)):
        app.command(name, cls=Command, rich_help_panel=FILES, no_args_is_help=True)(function)


def pack(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="caffemodel, ONNX, safetensors, .pt, compact file, .net.", callback=existing),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .demi file to write.")],
    form: Format = None,
    net: Annotated[
        Path | None,
        typer.Option(help="Prototxt of the net, which gives compact files names and shapes.", callback=prototxt),
    ] = None,
    layers: Layers = LayerRule.TYPE,
    definition: Annotated[bool, typer.Option("--definition", help="Store the prototxt in the file.")] = False,
    size: preparing.Size = None,
    crop: preparing.Crop = None,
    channels: preparing.Channels = None,
    mean: preparing.Mean = None,
    scale: preparing.Scale = None,
    classes: preparing.Classes = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Text to store.")] = None,
    signed_zeros: Annotated[bool, typer.Option("--signed-zeros", help="Keep -0.0; by default it becomes 0.0.")] = False,
    smallest: Annotated[
        bool | None,
        typer.Option("--smallest/--fast", help="Prefer fewer bytes or speed; default: by the model's size."),
    ] = None,
    reorder: Annotated[bool, typer.Option("--reorder", help="Reorder hidden units to save bytes.")] = False,
    remove_dead_units: Annotated[
        bool, typer.Option("--remove-dead-units", help="Remove hidden units that have no effect on the output.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="Key of the state_dict, if a PyTorch checkpoint contains several.")
    ] = None,
) -> None:
    """Pack a net or a model into a .demi file."""
    from demitasse import formats
    from demitasse.report.progress import count_bar

    with count_bar(f"Packing {source.name}") as progress:
        header = formats.pack(
            source,
            out,
            form,
            net=net,
            layers=layers,
            metadata=dict(map(_pair, metadata or [])),
            definition=definition,
            preparation=preparing.parts(size, crop, channels, mean, scale),
            classes=preparing.class_names(classes),
            signed_zeros=signed_zeros,
            smallest=smallest,
            reorder=reorder,
            remove_dead_units=remove_dead_units,
            key=key,
            progress=progress,
            say=print,
        )
    before, after = header.nbytes, len(header.pack()) + sum(payload.length for payload in header.payloads)
    print(f"{out}: {len(header.entries)} tensors, {before:,} -> {after:,} bytes, {before / after:.1f}x")


def unpack(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The .demi file.", callback=existing)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    form: Format = None,
    net: Annotated[
        Path | None,
        typer.Option(help="Prototxt of the net, all of whose layers a caffemodel then contains.", callback=prototxt),
    ] = None,
    layers: Layers = LayerRule.TYPE,
    definition: Annotated[
        bool, typer.Option("--definition", help="Also write the stored prototxt, beside OUT.")
    ] = False,
) -> None:
    """Unpack a .demi file."""
    from demitasse import formats
    from demitasse.report.progress import count_bar

    with count_bar(f"Unpacking {source.name}") as progress:
        lost = formats.unpack(source, out, form, net=net, layers=layers, definition=definition, progress=progress)
    if lost:
        print(f"metadata that {out} cannot store: {shortened(', '.join(lost))}")
    print(f"{out}: {'written' if is_stream(out) else f'{out.stat().st_size:,} bytes'}")


def inspect(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The .demi file.", callback=existing)],
    picture: Annotated[Path | None, typer.Option(help="A picture to write, such as bytes.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Show the contents of a .demi file, and what its bytes are used for."""
    from demitasse.report import inspection, inspection_table
    from demitasse.report.progress import count_bar
    from demitasse.text_table import show

    with count_bar(f"Reading {path.name}") as progress:
        found = inspection.inspect(path, progress)
    if picture:
        from demitasse.report import inspection_picture

        inspection_picture.picture(found, picture)
    if as_json:
        print(json.dumps(found.as_plain(), indent=2))
        return
    show(inspection_table.table(found))


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--metadata {text!r}: expected key=value")
    return key, value
