"""export to OUT.c: writes nets as C for microcontrollers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from demitasse.errors import UsageError

if TYPE_CHECKING:
    from demitasse.arrays import Array
    from demitasse.export import CostReport, CReport, Model

PANEL = "C (OUT.c)"

Arithmetic = Annotated[
    str,
    typer.Option(
        help="int: weights are powers of two, only shifts and sums; float: any weights.", rich_help_panel=PANEL
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="INPUTS.npy", help="Inputs as the net takes them, the batch first; they set the ranges of values.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Range = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH", help="The least and the greatest value of inputs, instead of --calibration.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Bits = Annotated[
    int | None, typer.Option(help="Bits of values, 8 or 16; default: chosen for each blob.", rich_help_panel=PANEL)
]
Smallest = Annotated[
    bool,
    typer.Option(
        "--smallest", help="Weights as small in flash as they can be; they are decoded for each input: slower.",
        rich_help_panel=PANEL,
    ),
]  # fmt: skip
Main = Annotated[
    bool,
    typer.Option("--main", help="Also write OUT_main.c, which runs the net on standard input.", rich_help_panel=PANEL),
]
Report = Annotated[
    bool, typer.Option("--report", help="Show flash, RAM and cycles by layer; also as OUT.png.", rich_help_panel=PANEL)
]


class CSettings(NamedTuple):
    """The flags for C alone."""

    arithmetic: str
    calibration: Path | None
    range: tuple[float, float] | None
    bits: int | None
    smallest: bool
    main: bool
    report: bool

    def expect_none(self) -> None:
        """Raises UsageError if one of them is given."""
        defaults = CSettings("int", None, None, None, False, False, False)
        for name, value, default in zip(self._fields, self, defaults, strict=True):
            if value != default:
                raise UsageError(f"--{name} is for C; expected a file name that ends in .c")


def export_c(model: Model | Path, out: Path, settings: CSettings) -> None:
    """Writes a model, or the net of a whole-model file, and says what was written."""
    from demitasse import export as exports

    found = exports.c(
        model,
        None,
        out,
        arithmetic=settings.arithmetic,
        calibration=None if settings.calibration is None else _array(settings.calibration),
        range=settings.range,
        bits=settings.bits,
        smallest=settings.smallest,
        main=settings.main,
    )
    for path in found.files:
        print(f"{path}: {path.stat().st_size:,} bytes")
    costs = exports.cost_report(found.written)
    print(f"{costs.flash:,} bytes of tables in flash, {costs.ram:,} bytes of RAM")
    if settings.report:
        _report(costs, out.with_suffix(".png"))
    _print_rows(found)


def _print_rows(found: CReport) -> None:
    for row in found.rows:
        print(f"output {row.name}: greatest value {row.largest:.4g}, greatest difference {row.difference:.2g}")


def _array(path: Path) -> Array:
    import numpy as np

    from demitasse.errors import FileFormatError

    try:
        found: Array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except (ValueError, OSError, EOFError) as error:
        raise FileFormatError(
            f"{path}: found no array of numbers; expected a .npy file, as numpy.save writes"
        ) from error
    return found


def _report(costs: CostReport, picture: Path) -> None:
    from demitasse.report.costs_picture import costs_picture

    print(costs)
    names = [layer.name for layer in costs.layers]
    flash = ("bytes of flash", [layer.flash for layer in costs.layers])
    cycles = ("cycles on Cortex-M0, estimated", [layer.cycles[0] for layer in costs.layers])
    costs_picture(
        f"{costs.name}: {costs.flash:,} bytes of tables, {costs.ram:,} of RAM", names, [flash, cycles], picture
    )
    print(f"{picture}: flash and cycles by layer")
