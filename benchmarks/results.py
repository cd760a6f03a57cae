"""How good are the compressed nets? Tables and pictures of what recipes left behind.

    demitasse compress lenet300_mnist_dns_99 --seed 1 --out results/1     # and so on, a folder a seed
    .venv/bin/python benchmarks/results.py results/1 results/2 results/3 [--pictures docs/images]

adds the results of all recipes in these folders to results.jsonl beside this program, a line a run, in place of an
earlier run of the same recipe and seed. Without folders, it only reads that file. Then it prints Markdown: a row a
recipe, its seeds side by side, the minutes of a run (median), and the change against the net that it started from and
against the control. The control is the dense net, trained on without compression for as many epochs: a run of such
training, or its first stages. Pictures show test error (or loss) over the epochs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demitasse.files import write_text
from demitasse.report import plots
from demitasse.zoo.recipe import find_recipe

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
    """Yields the runs in a folder, without those that are tested on images held out from the training set."""
    for path in sorted(folder.glob("*/report.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        if not report["data"].get("holdout"):
            homes = [path.parent / Path(stage["file"]).parent for stage in report["stages"]]
            settings = json.loads((homes[0] / "stage.json").read_text(encoding="utf-8"))["settings"]
            stages = tuple(map(_stage, homes, report["stages"]))
            yield Run(report["recipe"], report["seed"], settings["recipe"]["start"], stages)


def _stage(home: Path, stage: Mapping[str, Any]) -> Stage:
    metric = "test_error" if "error" in stage["tests"] else "test_loss"
    kept, total = (sum(column) for column in zip(*stage["kept"].values(), strict=True))
    return Stage(
        kind=stage["kind"],
        # as a recipe notes what it starts from
        model=hashlib.sha256((home / "model.pt").read_bytes()).hexdigest()[:16],
        seconds=round(stage["seconds"], 1),
        tests=stage["tests"],
        kept=kept,
        total=total,
        curve=tuple(round(epoch[metric], 6) for epoch in stage["history"]),
    )


def load(path: Path) -> list[Run]:
    """Returns the runs of a file of results."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        plain = json.loads(line)
        stages = (Stage(**{**stage, "curve": tuple(stage["curve"])}) for stage in plain.pop("stages"))
        found.append(Run(**plain, stages=tuple(stages)))
    return found


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
    """Draws the curves of a family with seed 1."""
    chosen = [run for group in runs.of(family).values() for run in group if run.seed == 1]
    dense = [run for run in chosen if runs.is_dense(run)]
    curves = []
    for run in chosen:
        metric = run.stages[0].metric
        history = [{f"test_{metric}": value} for stage in run.stages for value in stage.curve]
        if run not in dense:
            curves.append((short(title(run.recipe), title(family)), history))
    if curves:
        value = dense[0].value
        plots.epoch_lines(curves, folder / f"results_{family}.png", metric, f"{title(family)}, seed 1", value)


def title(name: str) -> str:
    """Returns what a recipe is called, in words."""
    return find_recipe(name).title or name


def short(title: str, family: str) -> str:
    """Returns a title without that of its family."""
    return title.removeprefix(family).lstrip(", ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    new = [run for folder in arguments.folders for run in read(folder)]
    replaced = {(run.recipe, run.seed) for run in new}
    runs = Runs([run for run in load(arguments.store) if (run.recipe, run.seed) not in replaced] + new)
    if new:
        save(arguments.store, runs)
    for family in FAMILIES:
        if runs.of(family):
            print(f"\n## {family}\n")
            print("\n".join(rows(family, runs)))
            if arguments.pictures:
                draw(family, runs, arguments.pictures)


if __name__ == "__main__":
    main()
