"""export: writes nets for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demitasse.cli.commands import CONVERT, Command
from demitasse.cli.export_c import Arithmetic, Bits, Calibration, CSettings, Main, Range, Report, Smallest, export_c
from demitasse.cli.inputs import all_but_the_last
from demitasse.cli.train import Level
from demitasse.errors import UsageError

if TYPE_CHECKING:
    from demitasse.export import ExportReport, Model


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("export", cls=Command, rich_help_panel=CONVERT, no_args_is_help=True)(export)


def export(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[NET] WEIGHTS OUT",
            help="NET: prototxt, unless WEIGHTS is a .demi file that contains it. WEIGHTS: caffemodel or .demi. "
            "OUT: .onnx, .pt2 (torch.export), .py (PyTorch source, with a file of weights beside it) or .c.",
            callback=all_but_the_last,
        ),
    ],
    phase: Annotated[str, typer.Option(help="TRAIN or TEST, for include and exclude rules.")] = "TEST",
    level: Level = None,
    stage: Annotated[str, typer.Option(help="Stages of the net, separated by commas.")] = "",
    batch: Annotated[str, typer.Option(help="Batch size: dynamic (any), fixed (the net's) or a number.")] = "dynamic",
    input_shape: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]N,...", help="Shape of an input, instead of the one from the net or its data."),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(help="Blob to output; default: all blobs that only losses, accuracies or no layers use."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare the result with the net on random inputs.")
    ] = True,
    arithmetic: Arithmetic = "int",
    calibration: Calibration = None,
    range: Range = None,
    bits: Bits = None,
    smallest: Smallest = False,
    main: Main = False,
    report: Report = False,
) -> None:
    """Write a Caffe net as ONNX, as a torch.export program, or as PyTorch source; any net as C."""
    from demitasse import export as exports
    from demitasse.caffe import schema
    from demitasse.export.targets import TARGETS
    from demitasse.extras import install

    if len(files) not in (2, 3):
        raise UsageError(f"export: found {len(files)} file names; expected NET WEIGHTS OUT, or a .demi file and OUT")
    phases = {"TRAIN": schema.TRAIN, "TEST": schema.TEST}
    if phase not in phases:
        raise UsageError(f"--phase {phase}: expected TRAIN or TEST")
    *sources, out = files
    if out.suffix not in (suffixes := [*TARGETS, ".c"]):
        raise UsageError(f"{out}: expected a file name that ends in {', '.join(suffixes[:-1])} or .c")
    settings = CSettings(arithmetic, calibration, range, bits, smallest, main, report)
    if out.suffix == ".c" and (batch != "dynamic" or not check):
        raise UsageError("--batch and --no-check are not for C, which takes one input and is always compared")
    if out.suffix == ".c" and len(sources) == 1 and not output:
        export_c(sources[0], out, settings)
        return
    model = exports.of_files(
        sources[0] if len(sources) == 2 else None,
        sources[-1],
        phases[phase],
        level,
        [name for name in stage.split(",") if name],
        dict(map(_shape, input_shape or [])),
        output or (),
        print,
    )
    if out.suffix == ".c":
        export_c(model, out, settings)
        return
    settings.expect_none()
    made = exports.export(_sized(model, batch), out, check)
    _print(made)
    if check and not made.rows:
        print(f"not compared with the net, because onnxruntime is not installed ({install('onnx')})")


_MOST = 2**31 - 1  # largest size of an axis


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1 or max(shape) > _MOST:
        raise UsageError(f"--input-shape {text!r}: expected name=N,C,H,W, positive numbers")
    return name, shape


def _sized(model: Model, batch: str) -> Model:
    if batch == "dynamic":
        return model
    if batch == "fixed":
        return model.fixed()
    if not batch.isdecimal() or not 0 < int(batch) <= _MOST:
        raise UsageError(f"--batch {batch}: expected 'dynamic', 'fixed' or a positive number")
    return model.fixed(int(batch))


def _print(report: ExportReport) -> None:
    for path in report.files:
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(report.about)
    lines = [
        (row.name, "x".join(map(str, row.shape)) or "scalar", f"{row.largest:.4g}", f"{row.difference:.2g}")
        for row in report.rows
    ]
    if lines:
        cells = [("output", "shape", "greatest value", "greatest difference"), *lines]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
