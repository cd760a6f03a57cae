"""demo, examples: the commands that a new user tries first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.commands import MORE, MOST_SEED, Command


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command("demo", cls=Command, rich_help_panel=MORE)(demo)
    app.command("examples", cls=Command, rich_help_panel=MORE)(examples)


def demo(
    data: Annotated[str, typer.Option(help="digits (bundled with scikit-learn) or mnist.")] = "digits",
    mnist_folder: Annotated[Path | None, typer.Option(help="Folder of MNIST's files; else download them.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for all results.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of surgery.", min=0, max=MOST_SEED)] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="A quick trial: a tenth of the iterations, milder pruning.")
    ] = False,
) -> None:
    """Train, prune, quantize, pack, unpack and test a net, and show the results."""
    from demitasse.demo import run_demo
    from demitasse.report.tables import stage_table
    from demitasse.text_table import show

    stages = run_demo(data, out, seed, quick, mnist_folder)
    print()
    show(stage_table(stages, f"{data}, seed {seed}{', quick' if quick else ''}"))
    first, last = stages[0], stages[-1]
    print(
        f"{first.total / last.kept:.0f}x fewer parameters, a file {first.bytes / last.bytes:.0f}x smaller, "
        f"test error {first.error:.2%} -> {last.error:.2%}, {sum(stage.seconds for stage in stages):.0f} s".replace(
            "%", " %"
        )
    )
    print(f"Tables, pictures, logs, prototxts and models are in {out}/")


def examples(
    folder: Annotated[Path, typer.Argument(help="The target folder; created if it is missing.")] = Path("examples"),
) -> None:
    """Copy the example nets and solvers into a folder."""
    from demitasse.examples import copy_examples

    for path in copy_examples(folder):
        print(path)
