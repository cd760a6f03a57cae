"""compress, recipes: compress a PyTorch model by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import MOST_SEED, PYTORCH, Command
from demitasse.cli.imports import AllowImports, importing
from demitasse.cli.inputs import existing


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("compress", cls=Command, rich_help_panel=PYTORCH, no_args_is_help=True)(compress)
    app.command("recipes", cls=Command, rich_help_panel=PYTORCH)(recipes)


def compress(
    recipe: Annotated[str, typer.Argument(help="A *.toml file, or the name of a bundled recipe.")],
    out: Annotated[Path, typer.Option(help="The results go into a subfolder named after the recipe.")] = Path(
        "compressed"
    ),
    seed: Annotated[
        int | None, typer.Option(help="Random seed, instead of the recipe's.", min=0, max=MOST_SEED)
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Path of the data, instead of the recipe's.")] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights to start from, instead of what the recipe starts from.", callback=existing),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Run all stages of the recipe again.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A quick trial: a tenth of the epochs, milder pruning.")
    ] = False,
    allow_imports: AllowImports = False,
) -> None:
    """Train, prune, quantize and pack a PyTorch model by a recipe; a stopped run resumes where it was."""
    from demitasse.compress import as_stages, compress
    from demitasse.report.tables import stage_table
    from demitasse.text_table import show

    with importing(allow_imports):
        results = compress(
            recipe,
            out,
            seed=seed,
            data=data,
            weights=weights,
            restart_all=restart,
            quick=quick,
            allow_imports=allow_imports,
        )
    print()
    show(stage_table(as_stages(results), Path(recipe).stem))
    print(f"Tables, pictures and weights are in {out / Path(recipe).stem}/")


def recipes() -> None:
    """List the bundled recipes."""
    from demitasse.zoo.recipe import bundled, find_recipe

    names = list(bundled())
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {find_recipe(name).title}")
