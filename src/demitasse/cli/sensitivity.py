"""sensitivity: how much compression each layer of a trained model tolerates, and what all layers tolerate together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import PYTORCH, Command
from demitasse.cli.imports import AllowImports, importing
from demitasse.cli.inputs import existing

TOLERANCE = 0.005
LARGEST_SPARSITY = 0.98  # the largest that is measured


def register(app: typer.Typer) -> None:
    """Adds the command of this file."""
    app.command("sensitivity", cls=Command, rich_help_panel=PYTORCH, no_args_is_help=True)(sensitivity)


def sensitivity(
    recipe: Annotated[
        str, typer.Argument(help="A *.toml file, or the name of a bundled recipe, for its model and data.")
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The trained model; default: the one that compress saved in --out before it pruned or quantized.",
            callback=existing,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of compress; for sensitivity.json, .txt and .png.")] = Path(
        "compressed"
    ),
    data: Annotated[Path | None, typer.Option(help="Path of the data, instead of the recipe's.")] = None,
    batches: Annotated[int, typer.Option(help="Number of test batches to measure with; 0 for all.", min=0)] = 0,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help=f"Largest increase of the error or loss by all layers together; default: {TOLERANCE}.", min=0
        ),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(help="Sparsity of all layers together, instead of a tolerance.", min=0, max=LARGEST_SPARSITY),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="sparsity|bits", help="Measure and propose only one of the two.")
    ] = None,
    proposal: Annotated[
        Path | None, typer.Option(help="File for the proposal; default: proposal.json beside the others.")
    ] = None,
    allow_imports: AllowImports = False,
) -> None:
    """Measure how much sparsity and how few bits each layer tolerates, and propose targets that all bear together."""
    from demitasse.errors import UsageError
    from demitasse.files import make_folder, write_text
    from demitasse.methods.sensitivity import BITS, SPARSITIES
    from demitasse.methods.sensitivity import sensitivity as measure
    from demitasse.report.progress import count_bar
    from demitasse.report.sensitivity import sensitivity_curves
    from demitasse.zoo.trained import load_trained

    if tolerance is not None and sparsity is not None:
        raise UsageError("both --tolerance and --sparsity are given; expected one of them")
    if only not in (None, "sparsity", "bits"):
        raise UsageError(f"--only is {only!r}; expected 'sparsity' or 'bits'")
    if only == "bits" and sparsity is not None:
        raise UsageError("both --only bits and --sparsity are given; expected --tolerance instead")
    if tolerance is None and sparsity is None:
        tolerance = TOLERANCE
    with importing(allow_imports):
        trained = load_trained(recipe, out, weights, data, allow_imports)
        for note in trained.data.notes:
            print(note)
        with count_bar("Measuring") as progress:
            found = measure(
                trained.model,
                lambda model: trained.metric(model, batches),
                sparsities=() if only == "bits" else SPARSITIES,
                bits=() if only == "sparsity" else BITS,
                progress=progress,
            )
        with count_bar("Proposing") as progress:
            proposed = found.proposal(tolerance, sparsity, progress=progress)
    make_folder(trained.folder)
    file = proposal or trained.folder / "proposal.json"
    proposed.save(file)
    plain = {"metric": trained.data.metric, **found.as_plain()}
    text = f"{found.table().text()}\n\n{proposed.table().text()}\n"
    for name, content in (("sensitivity.json", json.dumps(plain, indent=2) + "\n"), ("sensitivity.txt", text)):
        write_text(trained.folder / name, content)
    sensitivity_curves(found.as_plain(), trained.folder / "sensitivity.png", trained.data.metric)
    print(found)
    print()
    print(proposed)
    print(f'\nFor a stage of a recipe: proposal = "{file}"')
    print(f"The tables and the picture are in {trained.folder}/")
