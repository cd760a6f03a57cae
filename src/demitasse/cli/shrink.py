"""shrink: compress a net or a model without training."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demitasse.cli import preparing
from demitasse.cli.commands import FILES, MOST_SEED, Command
from demitasse.cli.imports import AllowImports, importing
from demitasse.cli.inputs import existing
from demitasse.cli.python_layers import PythonLayers, python_layers_run
from demitasse.errors import UsageError

if TYPE_CHECKING:
    from demitasse.methods.selection import Number, Pattern
    from demitasse.shrinking.options import ShrinkOptions


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("shrink", cls=Command, rich_help_panel=FILES, no_args_is_help=True)(shrink)


def shrink(
    model: Annotated[
        str,
        typer.Argument(metavar="NET", help="Prototxt; or a PyTorch model: a bundled name, or package.module:function."),
    ],
    weights: Annotated[Path, typer.Argument(metavar="IN", help="Its weights.", callback=existing)],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The file to write: .demi; Caffe: .caffemodel; PyTorch: .safetensors, .pt."),
    ],
    images: Annotated[
        Path | None,
        typer.Option(metavar="LIST|FOLDER", help="Images to calibrate with; labels are not needed.", callback=existing),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="DB",
            help="Caffe: database to calibrate with; default: the net's own data layers.",
            callback=existing,
        ),
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="PyTorch: a data set (NAME or NAME=PATH), .npz, a folder of <class>/<image>, or an import path.",
        ),
    ] = "",
    sparsity: Annotated[float | None, typer.Option(help="Share of zeros, 0 to 1.", min=0, max=1)] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a weight; default: 5, if nothing else is given.")] = None,
    max_bytes: Annotated[
        int | None, typer.Option(help="Instead: the most bytes of the .demi file's weights.", min=1)
    ] = None,
    grid: Annotated[
        str | None, typer.Option(metavar="pow2|uniform", help="Default: what loses less; of a Caffe net, pow2.")
    ] = None,
    per: Annotated[
        str | None,
        typer.Option(metavar="tensor|channel", help="What has its own scale. Default: what loses less; or tensor."),
    ] = None,
    proposal: Annotated[
        Path | None,
        typer.Option(help="File of sensitivity, instead of --sparsity and --bits.", callback=existing),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Layers to compress; default: all.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Layers to leave as they are.")] = None,
    examples: Annotated[int, typer.Option(help="The most examples to calibrate with.", min=1)] = 1024,
    seed: Annotated[int, typer.Option(help="Seed of the draw of images and of the method.", min=0, max=MOST_SEED)] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Setting of a PyTorch model: classes=2; or of its data: data.batch=50."
        ),
    ] = None,
    size: preparing.Size = None,
    crop: preparing.Crop = None,
    channels: preparing.Channels = None,
    mean: preparing.Mean = None,
    scale: preparing.Scale = None,
    classes: preparing.Classes = None,
    allow_imports: AllowImports = False,
    python_layers: PythonLayers = False,
) -> None:
    """Compress a net without training, from a few hundred inputs without labels."""
    is_caffe = Path(model).suffix == ".prototxt" or Path(model).is_file()
    _check_use(is_caffe, {"--data": data, "--set": set_}, {"--source": source})
    from demitasse.progress import ProgressBar
    from demitasse.text_table import show

    with ProgressBar(f"Shrinking {weights.name}") as bar:
        options: ShrinkOptions = {
            **_targets(sparsity, bits, max_bytes, proposal),
            "grid": grid,  # type: ignore[typeddict-item]
            "per": per,  # type: ignore[typeddict-item]
            "parameters": only or None,
            "exclude": exclude or (),
            "progress": lambda done, total, name: bar.update(done, total, note=name),
        }
        before = weights.stat().st_size if weights.exists() else 0
        preparation, names = preparing.parts(size, crop, channels, mean, scale), preparing.class_names(classes)
        if is_caffe:
            with python_layers_run(python_layers):
                from demitasse.caffe.tools.shrink_net import shrink_net

                report = shrink_net(
                    model,
                    weights,
                    out,
                    images=images,
                    source=source,
                    preparation=preparation,
                    classes=names,
                    examples=examples,
                    seed=seed,
                    say=print,
                    **options,
                )
        else:
            with importing(allow_imports):
                from demitasse.zoo.shrink_model import shrink_model

                settings = dict(map(_setting, set_ or []))
                of_data = {
                    key.removeprefix("data."): settings.pop(key) for key in [*settings] if key.startswith("data.")
                }
                report = shrink_model(
                    model,
                    weights,
                    out,
                    settings=settings,
                    data=data,
                    data_settings=of_data,
                    images=images,
                    preparation=preparation,
                    classes=names,
                    examples=examples,
                    seed=seed,
                    allow_imports=allow_imports,
                    say=print,
                    **options,
                )
    show(report.table())
    print(f"{out}: {before:,} -> {out.stat().st_size:,} bytes")


def _check_use(is_caffe: bool, of_pytorch: Mapping[str, object], of_caffe: Mapping[str, object]) -> None:
    """Raises UsageError if an option of the other kind of net is given."""
    for flag, value in (of_pytorch if is_caffe else of_caffe).items():
        if value:
            raise UsageError(f"{flag} is for {'PyTorch models' if is_caffe else 'Caffe nets'}; use --images instead")


def _targets(sparsity: float | None, bits: int | None, max_bytes: int | None, proposal: Path | None) -> ShrinkOptions:
    if proposal is None:
        return {"sparsity": sparsity, "bits": bits, "max_bytes": max_bytes}
    if (sparsity, bits, max_bytes) != (None, None, None):
        raise UsageError("--proposal is given with --sparsity, --bits or --max-bytes; expected one or the other")
    from demitasse.methods.proposal import Proposal

    found = Proposal.load(proposal)
    if not found.sparsity and not found.bits:
        raise UsageError(f"--proposal {proposal}: proposes no sparsity and no bits")
    shares: dict[Pattern, Number] = {}
    widths: dict[Pattern, Number] = {}
    shares.update(found.sparsity)
    widths.update(found.bits)
    return {"sparsity": shares or None, "bits": widths or None}


def _setting(text: str) -> tuple[str, object]:
    """Returns the key and the value of a setting; a value that is not TOML is a text."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--set {text!r}: expected key=value")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
