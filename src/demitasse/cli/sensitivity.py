"""sensitivity: how much compression each layer of a trained model tolerates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import PYTORCH, Command
from demitasse.cli.inputs import existing


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
        float, typer.Option(help="Largest increase of the error or loss that one layer may cause.", min=0)
    ] = 0.005,
    sparsity: Annotated[
        float | None, typer.Option(help="Sparsity of all layers together; the tolerance is solved for.")
    ] = None,
    allow_imports: Annotated[
        bool, typer.Option("--allow-imports", help="Let the recipe import its model, which runs that module's code.")
    ] = False,
) -> None:
    """Measure how much sparsity and how few bits each layer tolerates, and propose a target for each."""
    from demitasse.files import make_folder, write_text
    from demitasse.methods.sensitivity import sensitivity as measure
    from demitasse.report.progress import count_bar
    from demitasse.report.sensitivity import sensitivity_curves
    from demitasse.zoo.trained import load_trained

    trained = load_trained(recipe, out, weights, data, allow_imports)
    with count_bar("Measuring") as progress:
        found = measure(trained.model, lambda model: trained.metric(model, batches), progress=progress)
    targets = found.proposal(sparsity=sparsity) if sparsity is not None else found.proposal(tolerance)
    bits = found.proposal_bits(tolerance)
    make_folder(trained.folder)
    plain = {"metric": trained.data.metric, **found.as_plain(), "sparsity": targets, "bits": bits}
    for name, text in (("sensitivity.json", json.dumps(plain, indent=2)), ("sensitivity.txt", found.table().text())):
        write_text(trained.folder / name, f"{text}\n")
    sensitivity_curves(found.as_plain(), trained.folder / "sensitivity.png", trained.data.metric)
    print(found)
    print("\nProposal for a stage of a recipe:\n\n[stages.sparsity]")
    for name, target in targets.items():
        print(f'"{name}" = {target:.4g}  # or {bits[name]} bits')
    print(f"\nThe table and the picture are in {trained.folder}/")
