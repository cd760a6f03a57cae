"""How good are the compressed nets? Tables and pictures of what recipes left behind.

    demitasse compress lenet300_mnist_dns_99 --seed 1 --out results/1     # and so on, a folder a seed
    .venv/bin/python benchmarks/results.py results/1 results/2 results/3 [--pictures docs/images]

adds the results of the bundled recipes in these folders to results.jsonl beside this program, a line a run, in place of
an earlier run of the same recipe and seed. Quick runs, and those with images held out, are left out. Without folders,
it only reads that file. Then it prints Markdown: a row a recipe, its seeds side by side, the minutes of a run (median),
and the change against the net that it started from and against the control. The control is the dense net, trained on
without compression for as many epochs: a run of such training, or its first stages. Pictures show test error (or loss)
over the epochs of what compresses, with seed 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from demitasse.errors import DemitasseError, FileFormatError, visible
from demitasse.files import write_text
from demitasse.report import plots
from demitasse.report.page.fields import Field
from demitasse.zoo.recipe import find_recipe
from demitasse.zoo.runner import checksum

FAMILIES = ("lenet300_mnist", "lenet5_mnist", "resnet20_cifar10", "gpt_shakespeare")
STORE = Path(__file__).with_suffix(".jsonl")


@dataclass(frozen=True)
class Stage:
    """A stage of a run.

    Attributes:
        kind: what it did.
        model: checksum of the weights at its end.
        seconds: wall time without tests.
        tests: name of a metric -> its value on the test data.
        kept: number of nonzero parameters.
        total: number of all parameters.
        curve: the metric after every epoch.
    """

    kind: str
    model: str
    seconds: float
    tests: Mapping[str, float]
    kept: int
    total: int
    curve: tuple[float, ...]

    @property
    def metric(self) -> str:
        """The metric that counts."""
        return "error" if "error" in self.tests else "loss"

    @property
    def value(self) -> float:
        """The metric at the end, on all test data: an error in per cent, or a loss in nats."""
        return (100 if self.metric == "error" else 1) * self.tests[self.metric]


@dataclass(frozen=True)
class Run:
    """A recipe, run with one seed.

    Attributes:
        recipe: its name.
        seed: the seed.
        start: checksum of the weights that it started from; None for initial weights.
        stages: its stages.
    """

    recipe: str
    seed: int
    start: str | None
    stages: tuple[Stage, ...]

    @property
    def value(self) -> float:
        """The metric at the end."""
        return self.stages[-1].value

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return sum(len(stage.curve) for stage in self.stages)

    @property
    def is_plain(self) -> bool:
        """Whether it only trains."""
        return all(stage.kind == "train" for stage in self.stages)


class Runs:
    """Runs, and which of them started from what."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = sorted(runs, key=lambda run: (len(run.recipe), run.recipe, run.seed))
        self.by_model = {stage.model: (run, number) for run in self.runs for number, stage in enumerate(run.stages)}

    def of(self, family: str) -> dict[str, list[Run]]:
        """Returns recipe -> its runs by seed, of one family, those without a known start first."""
        found: dict[str, list[Run]] = {}
        for run in sorted((run for run in self.runs if run.recipe.startswith(family)), key=self.is_dense, reverse=True):
            found.setdefault(run.recipe, []).append(run)
        return found

    def is_dense(self, run: Run) -> bool:
        """Returns whether a run is not a continuation of another one."""
        return run.start not in self.by_model

    def before(self, run: Run) -> float | None:
        """Returns the metric of what a run started from, if it is known."""
        if run.start is None or self.is_dense(run):
            return None
        start, number = self.by_model[run.start]
        return start.stages[number].value

    def origin(self, run: Run) -> tuple[str | None, int]:
        """Returns the checksum of the dense net that a run or its starts began with, and the epochs since then."""
        if run.start is None or self.is_dense(run):
            return run.start, 0
        start, number = self.by_model[run.start]
        if self.is_dense(start):
            return run.start, run.epochs
        origin, epochs = self.origin(start)
        unused = sum(len(stage.curve) for stage in start.stages[number + 1 :])
        return origin, epochs - unused + run.epochs

    def control(self, run: Run) -> float | None:
        """Returns the metric of the same dense net, trained on for as long.

        It is the one of the same seed, or else the median of the other seeds; None if there is no such run.
        """
        if run.is_plain or self.is_dense(run):
            return None
        origin, length = self.origin(run)
        found: dict[int, float] = {}
        for other in self.runs:
            beginning, total = self.origin(other)
            if not other.is_plain or beginning != origin:
                continue
            total -= other.epochs
            for stage in other.stages:
                total += len(stage.curve)
                if total == length:
                    found[other.seed] = stage.value
        return found.get(run.seed, statistics.median(found.values()) if found else None)


def read(folder: Path) -> Iterator[Run]:
    """Yields the runs in a folder that count: full runs of bundled recipes, tested on all test data.

    It names those left out on standard error.

    Raises:
        FileFormatError: the folder holds no runs, or a file of a run is missing or damaged.
    """
    paths = sorted(folder.glob("*/report.json"))
    if not paths:
        raise FileFormatError(f"{folder}: holds no runs; expected a folder with RECIPE/report.json")
    for path in paths:
        report = Field.of_file(path)
        if reason := _reason_against(report):
            print(f"{path.parent}: left out, {reason}", file=sys.stderr)
            continue
        stages = _stages_of(report)
        homes = [stage["file"].path(path.parent).parent for stage in stages]
        settings = Field.of_file(homes[0] / "stage.json")["settings"]["recipe"]
        yield Run(report["recipe"].text, report["seed"].count, _start(settings), tuple(map(_stage, homes, stages)))


def _reason_against(report: Field) -> str:
    if "recipe" not in report:
        return "not a run of demitasse compress"
    name = report["recipe"].text
    if report["source"].text != name or not name.startswith(FAMILIES):
        return f"{report['source'].text} is not a bundled recipe of {', '.join(FAMILIES)}"
    if report["quick"].flag:
        return "a quick run"
    holds_out = "holdout" in report["data"] and report["data"]["holdout"].count
    return "tested on images held out from the training set" if holds_out else ""


def _stages_of(run: Field) -> list[Field]:
    stages = list(run["stages"])
    if not stages:
        raise FileFormatError(f"{run.place}: stages is empty; expected a stage or more")
    return stages


def _start(run: Field) -> str | None:
    return run["start"].text if "start" in run else None


def _tests(stage: Field) -> dict[str, float]:
    tests = {name: value.number for name, value in stage["tests"].items()}
    if not tests.keys() & {"error", "loss"}:
        raise FileFormatError(f"{stage.place}: tests: expected error or loss")
    return tests


def _stage(home: Path, stage: Field) -> Stage:
    tests = _tests(stage)
    metric = "test_error" if "error" in tests else "test_loss"
    counts = [[count.count for count in pair] for _, pair in stage["kept"].items()]
    if not counts or any(len(pair) != 2 for pair in counts):
        raise FileFormatError(f"{stage.place}: kept: expected pairs of counts, the nonzero and all parameters")
    kept, total = (sum(column) for column in zip(*counts, strict=True))
    return Stage(
        kind=stage["kind"].text,
        model=checksum(home / "model.pt"),
        seconds=round(stage["seconds"].number, 1),
        tests=tests,
        kept=kept,
        total=total,
        curve=tuple(round(epoch[metric].number, 6) for epoch in stage["history"]),
    )


def load(path: Path) -> list[Run]:
    """Returns the runs of a file of results.

    Raises:
        FileFormatError: a line is damaged.
    """
    return [_run(line) for line in Field.lines_of_file(path)] if path.exists() else []


def _run(line: Field) -> Run:
    stages = tuple(
        Stage(
            kind=stage["kind"].text,
            model=stage["model"].text,
            seconds=stage["seconds"].number,
            tests=_tests(stage),
            kept=stage["kept"].count,
            total=stage["total"].count,
            curve=tuple(value.number for value in stage["curve"]),
        )
        for stage in _stages_of(line)
    )
    return Run(line["recipe"].text, line["seed"].count, _start(line), stages)


def save(path: Path, runs: Runs) -> None:
    """Writes runs to a file of results, a line each."""
    write_text(path, "".join(f"{json.dumps(asdict(run))}\n" for run in runs.runs))


def rows(family: str, runs: Runs) -> Iterator[str]:
    """Yields the lines of a family's table."""
    recipes = runs.of(family)
    first = next(iter(recipes.values()))[0]
    unit, digits = ("error, %", 2) if first.stages[-1].metric == "error" else ("nats", 4)
    yield (
        f"| recipe | epochs | minutes | parameters kept | test {unit}, by seed | median "
        "| against its start | against the control |"
    )
    yield "| --- | --: | --: | --: | --- | --: | --: | --: |"
    for recipe, found in recipes.items():
        last = found[0].stages[-1]
        minutes = statistics.median(sum(stage.seconds for stage in run.stages) / 60 for run in found)
        cells = (
            f"`{recipe}`",
            f"{found[0].epochs}",
            f"{minutes:.1f}",
            f"{last.kept:,} ({100 * last.kept / last.total:.2f} %)",
            ", ".join(f"{run.value:.{digits}f}" for run in found),
            f"{statistics.median(run.value for run in found):.{digits}f}",
            _change(found, [runs.before(run) for run in found], digits),
            _change(found, [runs.control(run) for run in found], digits),
        )
        yield f"| {' | '.join(cells)} |"


def _change(runs: Sequence[Run], before: Sequence[float | None], digits: int) -> str:
    """Returns the median of the changes of the metric, seed by seed."""
    pairs = [run.value - value for run, value in zip(runs, before, strict=True) if value is not None]
    return f"{statistics.median(pairs):+.{digits}f}" if pairs else ""


def draw(family: str, runs: Runs, folder: Path) -> None:
    """Draws the curves of a family with seed 1: of what compresses, without runs that another one goes on with."""
    chosen = [run for group in runs.of(family).values() for run in group if run.seed == 1]
    trained = {run.recipe: [stage for stage in run.stages if stage.curve] for run in chosen if not run.is_plain}
    begun = {stage.model for stages in trained.values() for stage in stages[:-1]}
    curves = []
    for recipe, stages in trained.items():
        if stages and stages[-1].model not in begun:
            metric = stages[0].metric
            history = [{f"test_{metric}": value} for stage in stages for value in stage.curve]
            curves.append((short(title(recipe), title(family)), history))
    if curves:
        value = chosen[0].value
        plots.epoch_lines(curves, folder / f"results_{family}.png", metric, f"{title(family)}, seed 1", value)


def title(name: str) -> str:
    """Returns what a recipe is called, in words."""
    return find_recipe(name).title or name


def short(title: str, family: str) -> str:
    """Returns a title without that of its family."""
    return title.removeprefix(family).lstrip(", ")


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args(given)
    try:
        _show(arguments.folders, arguments.store, arguments.pictures)
    except DemitasseError as error:
        sys.exit(f"error: {visible(str(error))}")


def _show(folders: Sequence[Path], store: Path, pictures: Path | None) -> None:
    new = [run for folder in folders for run in read(folder)]
    # the last one counts
    runs = Runs(list({(run.recipe, run.seed): run for run in [*load(store), *new]}.values()))
    if new:
        save(store, runs)
    for family in FAMILIES:
        if runs.of(family):
            print(f"\n## {family}\n")
            print("\n".join(rows(family, runs)))
            if pictures:
                draw(family, runs, pictures)


if __name__ == "__main__":
    main()
