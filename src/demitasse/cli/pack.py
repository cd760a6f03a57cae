"""pack, unpack, inspect: .demi files, what they are made of, and what they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from demitasse.caffe.layer_rule import LayerRule
from demitasse.cli.commands import FILES, Command
from demitasse.cli.inputs import existing, prototxt
from demitasse.errors import UsageError, shortened
from demitasse.files import is_stream

Format = Annotated[str | None, typer.Option("--format", help="Of the other file, where its ending does not tell.")]
Layers = Annotated[
    LayerRule,
    typer.Option("--layers", help="What compact files hold: layers by type, or by their names (original)."),
]
Packed = Annotated[Path, typer.Argument(metavar="FILE", help="The .demi file.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for name, function in (("pack", pack), ("unpack", unpack), ("inspect", inspect)):
        app.command(name, cls=Command, rich_help_panel=FILES, no_args_is_help=True)(function)


def pack(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="caffemodel, ONNX, safetensors, .pt, compact file, .net.", callback=existing),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .demi file to be written.")],
    form: Format = None,
    net: Annotated[
        Path | None,
        typer.Option(help="Prototxt of the net: names and shapes for compact files.", callback=prototxt),
    ] = None,
    layers: Layers = LayerRule.TYPE,
    definition: Annotated[bool, typer.Option("--definition", help="Keep the prototxt in the file.")] = False,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Text to keep.")] = None,
    signed_zeros: Annotated[bool, typer.Option("--signed-zeros", help="Keep -0.0; else it becomes 0.0.")] = False,
    smallest: Annotated[
        bool | None, typer.Option("--smallest/--fast", help="Fewest bytes, or speed; by default, as the size suggests.")
    ] = None,
    reorder: Annotated[bool, typer.Option("--reorder", help="Put hidden units in an order of fewer bytes.")] = False,
    remove_dead_units: Annotated[
        bool, typer.Option("--remove-dead-units", help="Leave out hidden units that change nothing.")
    ] = False,
    key: Annotated[str | None, typer.Option(help="Of the state_dict in a PyTorch checkpoint of several.")] = None,
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
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to be written.")],
    form: Format = None,
    net: Annotated[
        Path | None,
        typer.Option(help="Prototxt of the net: a caffemodel gets all its layers.", callback=prototxt),
    ] = None,
    layers: Layers = LayerRule.TYPE,
    definition: Annotated[bool, typer.Option("--definition", help="Write the prototxt, too, beside OUT.")] = False,
) -> None:
    """Unpack a .demi file."""
    from demitasse import formats
    from demitasse.report.progress import count_bar

    with count_bar(f"Unpacking {source.name}") as progress:
        lost = formats.unpack(source, out, form, net=net, layers=layers, definition=definition, progress=progress)
    if lost:
        print(f"metadata that {out} has no place for: {shortened(', '.join(lost))}")
    print(f"{out}: {'written' if is_stream(out) else f'{out.stat().st_size:,} bytes'}")


def inspect(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The .demi file.", callback=existing)],
    picture: Annotated[Path | None, typer.Option(help="A picture to be written, such as bytes.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Show what is in a .demi file, and where its bytes go."""
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
