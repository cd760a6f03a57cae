"""A recipe from beginning to end, with a report: what ``demitasse compress`` runs."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import torch

from demitasse import __version__
from demitasse.errors import UsageError
from demitasse.files import write_text
from demitasse.methods.method import Method
from demitasse.report import tables
from demitasse.report.progress import TrainingBar
from demitasse.zoo.recipe import Recipe, find_recipe
from demitasse.zoo.records import Result, restart
from demitasse.zoo.runner import Runner, Watch
from demitasse.zoo.stages import Stage
from demitasse.zoo.training import TrainingRun

_OTHERS = "all others"
_LEAST_SHARE = 0.0005  # of all parameters; a smaller layer gets no bar of its own


def _at_once(line: str) -> None:
    print(line, flush=True)


def compress(
    recipe: str | Path | Recipe,
    out: str | Path = "compressed",
    *,
    seed: int | None = None,
    data: str | Path | None = None,
    restart_all: bool = False,
    quick: bool = False,
    allow_imports: bool = False,
    say: Callable[[str], None] = _at_once,
) -> list[Result]:
    """Runs the stages of a recipe that are not done yet, and writes a report.

    Stopped at any moment and started again it goes on from its last checkpoint, on a CPU to the same bits. Where the
    recipe starts from another one's result, that one is run first, in the same ``out``.

    Args:
        recipe: a file, the name of a bundled recipe, or one that was read already.
        out: gets a folder named like the recipe, with the stages' weights and the report.
        seed: instead of the recipe's.
        data: file or folder of the data, instead of the recipe's.
        restart_all: does all stages of the recipe anew, though not those of the one that it starts from.
        quick: a tenth of the epochs, with pruning that so few can mend; see :meth:`Recipe.quick`.
        allow_imports: whether the recipe may import its model, which runs code of that module.
        say: takes a line at the end of each stage.

    Returns:
        The results of the stages, in order.

    Raises:
        UsageError: there is no such recipe, it is not valid, it may not import, or a stage was run with other settings.
        DataError: the data is not there.
        DivergedError: a loss is not a number any more.
        SnapshotError: a checkpoint is broken.
        MissingPackageError: matplotlib, which draws the report's plots, is not installed.
    """
    import_module("demitasse.report.plots")  # fails before the training, not after it
    if isinstance(recipe, Recipe):
        beside, found = None, recipe
    else:
        found = find_recipe(recipe)
        beside = Path(recipe).parent if Path(recipe).suffix == ".toml" else None
    chain = [_adapted(one, seed, data, quick) for one in _chain(found, beside)]
    start, dense = found.weights, None
    for one in chain:
        folder = Path(out) / one.name
        if restart_all and one is chain[-1]:
            restart(folder)
        if len(chain) > 1:
            say(f"{one.name}:")
        with _watching(say) as watch:
            runner = Runner(one, folder, start, allow_imports, watch)
            results = runner.run()
        dense = _dense(one, results) or dense
        write_report(one, results, folder, quick, dense)
        start = runner.outcome
    return results


def _chain(recipe: Recipe, beside: Path | None) -> list[Recipe]:
    """Returns the recipe behind those that it starts from."""
    chain = [recipe]
    while chain[0].start:
        try:
            before = find_recipe(chain[0].start, beside)
        except UsageError as error:
            raise error.within(f"{chain[0].source}: start") from error
        if before.name in [one.name for one in chain]:
            raise UsageError(f"{before.source}: starts from itself, by way of {chain[0].source}")
        chain.insert(0, before)
    _check_order(chain)
    return chain


def _check_order(chain: Sequence[Recipe]) -> None:
    """Refuses stages that would spoil what the recipes before have made."""
    before: list[Stage] = []
    for recipe in chain:
        for name, stage in zip(recipe.stage_names, recipe.stages, strict=True):
            stage.check(f"{recipe.source}: {name}", before)
            before.append(stage)


def _adapted(recipe: Recipe, seed: int | None, data: str | Path | None, quick: bool) -> Recipe:
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    if data is not None:
        recipe = replace(recipe, data=replace(recipe.data, path=Path(data)))
    return recipe.quick() if quick else recipe


@contextmanager
def _watching(say: Callable[[str], None]) -> Iterator[Watch]:
    """Gives a watch that shows how far a stage is while it trains, and says a line when it is complete."""
    bars: list[TrainingBar] = []
    current = ""

    def close() -> None:
        while bars:
            bars.pop().__exit__(None, None, None)

    def step(run: TrainingRun, total: int) -> None:
        if not bars:
            bars.append(TrainingBar(current, total).__enter__())
        if bars[0].is_due():
            done = run.epoch * run.data.steps + run.step
            what = f"{current}, epoch {min(run.epoch + 1, total // run.data.steps)} of {total // run.data.steps}"
            bars[0].show(done, run.loss, run.rate, *_shares(run), what=what)

    def result(found: Result) -> None:
        close()
        say(line(found))

    def stage(name: str, done: bool) -> None:
        nonlocal current
        current = name
        close()
        if done:
            say(f"{name}: done before")

    try:
        yield Watch(stage=stage, step=step, result=result)
    finally:
        close()


def _shares(run: TrainingRun) -> tuple[float, float]:
    """Returns the shares of weights that are zero and that are frozen, as the run's methods report them."""
    reports = [method.report() for method in run.methods.values() if isinstance(method, Method)]
    return max([0.0, *(one.sparsity for one in reports)]), max([0.0, *(one.frozen_share for one in reports)])


def line(result: Result) -> str:
    """Returns a stage's result as a line."""
    kept, total = _sum(result)
    measured = metric_of(result)
    header, text = tables.METRICS[measured]
    return (
        f"{result.name}: {header} {text(result.tests[measured])}, {kept:,} of {total:,} parameters kept, "
        f"{result.bytes:,} bytes, {result.seconds:.1f} s"
    )


def _sum(result: Result) -> tuple[int, int]:
    some, total = (sum(column) for column in zip(*result.kept.values(), strict=True))
    return some, total


def metric_of(result: Result) -> str:
    """Returns which of a result's tests tells how good the model is."""
    return "error" if "error" in result.tests else "loss"


def as_stages(results: Sequence[Result]) -> list[tables.StageResult]:
    """Returns the results as rows of a table."""
    return [
        tables.StageResult(one.name, one.tests[metric_of(one)], *_sum(one), one.bytes, one.seconds, metric_of(one))
        for one in results
    ]


def _dense(recipe: Recipe, results: Sequence[Result]) -> Result | None:
    """Returns the last result before anything is compressed."""
    last = None
    for stage, result in zip(recipe.stages, results, strict=True):
        if stage.compresses:
            break
        last = result
    return last


def write_report(
    recipe: Recipe, results: Sequence[Result], folder: Path, quick: bool = False, dense: Result | None = None
) -> None:
    """Writes table.txt, table.md, report.json, training.png and kept.png into a folder.

    Args:
        recipe: what was done.
        results: of its stages.
        folder: that exists.
        quick: whether it was a quick run.
        dense: the result before anything was compressed; a line in the picture.
    """
    from demitasse.report import plots

    title = f"{recipe.title or recipe.name}, seed {recipe.seed}{', quick' if quick else ''}"
    stages = as_stages(results)
    write_text(folder / "table.txt", tables.text(stages, title))
    write_text(folder / "table.md", tables.markdown(stages))
    report = {
        "title": title,
        "recipe": recipe.name,
        "seed": recipe.seed,
        "quick": quick,
        "demitasse": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": recipe.threads or torch.get_num_threads(),
        "model": recipe.model.name or recipe.model.imported,
        "data": {"name": recipe.data.name, **recipe.data.settings},
        "stages": [
            {"settings": {"kind": stage.kind, **asdict(stage)}, **asdict(result)}
            for stage, result in zip(recipe.stages, results, strict=True)
        ],
    }
    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    curves = [(result.name, result.history) for result in results if result.history]
    if curves:
        kind = metric_of(results[0])
        level = dense.tests[kind] if dense else None
        plots.epoch_curves(curves, folder / "training.png", kind, title, level)
    plots.kept_by_layer(_bars(results[-1].kept), folder / "kept.png")


def _bars(kept: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Returns what each layer keeps, small layers such as normalizations together."""
    all_parameters = sum(total for _, total in kept.values())
    bars = {name: counts for name, counts in kept.items() if counts[1] >= _LEAST_SHARE * all_parameters}
    small = [counts for name, counts in kept.items() if name not in bars]
    if small:
        bars[_OTHERS] = sum(some for some, _ in small), sum(total for _, total in small)
    return bars
