"""compress: a PyTorch model by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import PYTORCH, Command


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("compress", cls=Command, rich_help_panel=PYTORCH, no_args_is_help=True)(compress)
    app.command("recipes", cls=Command, rich_help_panel=PYTORCH)(recipes)


def compress(
    recipe: Annotated[str, typer.Argument(help="A file *.toml, or the name of a bundled recipe.")],
    out: Annotated[Path, typer.Option(help="Gets a folder named like the recipe.")] = Path("compressed"),
    seed: Annotated[int | None, typer.Option(help="Instead of the recipe's.", min=0)] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data lies, instead of the recipe's path.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Do all stages of the recipe anew.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: a tenth of the epochs, milder pruning.")
    ] = False,
    allow_imports: Annotated[
        bool, typer.Option("--allow-imports", help="Let the recipe import its model, which runs that module's code.")
    ] = False,
) -> None:
    """Train, prune, quantize and pack a PyTorch model as a recipe says; stopped, it goes on where it was."""
    from demitasse.compress import as_stages, compress
    from demitasse.report.tables import stage_table
    from demitasse.text_table import show

    results = compress(recipe, out, seed=seed, data=data, restart_all=restart, quick=quick, allow_imports=allow_imports)
    print()
    show(stage_table(as_stages(results), Path(recipe).stem))
    print(f"Tables, pictures and weights are in {out / Path(recipe).stem}/")


def recipes() -> None:
    """List the bundled recipes."""
    from demitasse.zoo.recipe import bundled, find_recipe

    names = list(bundled())
    for name in names:
        print(f"{name:<{max(map(len, names))}}  {find_recipe(name).title}")
