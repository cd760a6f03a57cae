"""Runs a recipe from beginning to end and writes a report, as ``demitasse compress`` does."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from demitasse import __version__
from demitasse.errors import UsageError, parameter
from demitasse.files import write_text
from demitasse.methods.method import Method
from demitasse.report import tables
from demitasse.report.page.written import write_page_of
from demitasse.report.progress import TrainingBar
from demitasse.zoo.recipe import Recipe, check_seed, find_recipe
from demitasse.zoo.records import Result, restart
from demitasse.zoo.runner import Runner, Watch
from demitasse.zoo.stages import Stage
from demitasse.zoo.training import TrainingRun

_NEEDS = {"start": "starts from", "teacher": "learns from"}
_OTHERS = "all others"
_LEAST_SHARE = 0.0005  # share of all parameters below which a layer has no bar of its own


def _at_once(line: str) -> None:
    print(line, flush=True)


def compress(
    recipe: str | Path | Recipe,
    out: str | Path = "compressed",
    *,
    seed: int | None = None,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    restart_all: bool = False,
    quick: bool = False,
    allow_imports: bool = False,
    say: Callable[[str], None] = _at_once,
) -> list[Result]:
    """Runs the stages of a recipe that are not complete yet, and writes a report.

    If it was stopped, call it again: it resumes from its last checkpoint, on a CPU with the same bits. If the recipe
    starts from the result of another recipe, or learns from it, it runs that one first, in the same ``out``.

    Args:
        recipe: a file, the name of a bundled recipe, or a recipe.
        out: the folder for the results: a folder with the recipe's name, with the weights of the stages and the report.
        seed: the seed, instead of the recipe's.
        data: file or folder of the data, instead of the recipe's.
        weights: file with the weights to start from, instead of what the recipe starts from, which is not run then.
        restart_all: whether to run all stages of the recipe again, but not those of the recipes that it needs.
        quick: whether to run a tenth of the epochs, with milder pruning; see :meth:`Recipe.quick`.
        allow_imports: whether the recipe may import its model and its data, which runs code of these modules.
        say: called with a line at the end of each stage.

    Returns:
        The results of the stages, in order.

    Raises:
        UsageError: there is no such recipe, it is invalid, it imports what is not allowed, or a stage was
            run before with other settings.
        DataError: the data is missing.
        DivergedError: a loss is not finite.
        SnapshotError: a checkpoint is broken.
        MissingPackageError: matplotlib, which draws the report's plots, is not installed. Without the packages for
            report.html, ``say`` is called with a line about it instead.
    """
    import_module("demitasse.report.plots")  # fails before the training, not after it
    if isinstance(recipe, Recipe):
        beside, found = None, recipe
    else:
        found = find_recipe(recipe)
        beside = Path(recipe).parent if Path(recipe).suffix == ".toml" else None
    if weights is not None:
        found = replace(found, start="", weights=Path(weights))
    if Path(out).is_file():
        raise UsageError(f"{out}: is a file; expected a folder")
    runners: dict[str, Runner] = {}
    dense: dict[str, Result | None] = {}
    every = [_adapted(one, seed, data, quick) for one in _needed(found, beside)]
    for one in every:
        folder, start = Path(out) / one.name, runners.get(one.start)
        if restart_all and one is every[-1]:
            restart(folder)
        if len(every) > 1:
            say(f"{one.name}:")
        with _watching(say) as watch:
            first = start.outcome if start else one.weights
            runner = Runner(one, folder, first, allow_imports, watch, runners.get(one.teacher))
            for note in runner.data.notes:
                say(note)
            results = runner.run()
        dense[one.name] = _dense(one, results) or dense.get(one.start)
        write_report(one, results, folder, quick, dense[one.name])
        write_page_of(folder, say)
        runners[one.name] = runner
    return results


def _needed(recipe: Recipe, beside: Path | None) -> list[Recipe]:
    """Returns the recipes that a recipe starts from or learns from, in the order in which they run, and itself last."""
    done: dict[str, Recipe] = {}
    stages: dict[str, list[Stage]] = {}  # of a recipe, after those of the recipes that it starts from

    def add(one: Recipe, through: tuple[Recipe, ...]) -> None:
        names: dict[str, Any] = {}  # without folders and suffixes
        for key, name in (("start", one.start), ("teacher", one.teacher)):
            if not name:
                continue
            try:
                before = find_recipe(name, beside)
            except UsageError as error:
                raise error.within(f"{one.source}: {key}") from error
            if before.name in [other.name for other in (*through, one)]:
                raise UsageError(f"{before.source}: {_NEEDS[key]} itself, through {one.source}")
            if before.name not in done:
                add(before, (*through, one))
            names[key] = before.name
        one = replace(one, **names)
        stages[one.name] = list(stages.get(one.start, ()))
        for name, stage in zip(one.stage_names, one.stages, strict=True):
            stage.check(f"{one.source}: {name}", stages[one.name])
            stages[one.name].append(stage)
        done[one.name] = one

    add(recipe, ())
    return list(done.values())


def _adapted(recipe: Recipe, seed: int | None, data: str | Path | None, quick: bool) -> Recipe:
    if seed is not None:
        recipe = replace(recipe, seed=check_seed(seed, parameter("seed")))
    if data is not None:
        recipe = replace(recipe, data=replace(recipe.data, path=Path(data)))
    return recipe.quick() if quick else recipe


@contextmanager
def _watching(say: Callable[[str], None]) -> Iterator[Watch]:
    """Yields callbacks that show the progress of a stage, and report a line when it is complete."""
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
            say(f"{name}: already complete")

    try:
        yield Watch(stage=stage, step=step, result=result)
    finally:
        close()


def _shares(run: TrainingRun) -> tuple[float, float]:
    """Returns the shares of zero and of frozen weights in the reports of the run's methods."""
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
    """Returns the metric that rates the model: ``error`` if it was measured, else ``loss``."""
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
        recipe: the recipe.
        results: the results of its stages.
        folder: an existing folder.
        quick: whether it was a quick run.
        dense: the result before anything was compressed, drawn as a line in the picture.
    """
    from demitasse.report import plots

    title = f"{recipe.title or recipe.name}, seed {recipe.seed}{', quick' if quick else ''}"
    stages = as_stages(results)
    write_text(folder / "table.txt", tables.text(stages, title))
    write_text(folder / "table.md", tables.markdown(stages))
    report = {
        "title": title,
        "recipe": recipe.name,
        "source": recipe.name if recipe.is_bundled else recipe.source,
        "seed": recipe.seed,
        "quick": quick,
        "weights": recipe.weights and str(recipe.weights),
        "demitasse": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": recipe.threads or torch.get_num_threads(),
        "model": recipe.model.name or recipe.model.imported,
        "allow_imports": bool(recipe.model.imported or recipe.data.imported),
        "data": {"name": recipe.data_name, **recipe.data.settings, "path": recipe.data.path and str(recipe.data.path)},
        "dense": dense and dense.tests,
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
    """Returns the parameters kept in each layer, with small layers such as normalizations together."""
    all_parameters = sum(total for _, total in kept.values())
    bars = {name: counts for name, counts in kept.items() if counts[1] >= _LEAST_SHARE * all_parameters}
    small = [counts for name, counts in kept.items() if name not in bars]
    if small:
        bars[_OTHERS] = sum(some for some, _ in small), sum(total for _, total in small)
    return bars
