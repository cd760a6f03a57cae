"""How good are the compressed nets? Tables and pictures of what recipes left behind.

    demitasse compress lenet300_mnist_dns_99 --seed 1 --out results/1     # and so on, a folder a seed
    .venv/bin/python benchmarks/results.py results/1 results/2 results/3 [--pictures docs/images]

Reads the report.json of every recipe in the folders and prints Markdown: a row a recipe, its seeds side by side, the
minutes of a run (median), and the change against the recipe that it started from and against the control. The control
is the dense net, trained on without compression for as many epochs: a recipe of such training, or its first stages.
Pictures show test error (or loss) over the epochs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from demitasse.report import plots
from demitasse.zoo.recipe import bundled, find_recipe

FAMILIES = ("lenet300_mnist", "lenet5_mnist", "resnet20_cifar10", "gpt_shakespeare")
Reports = dict[str, list[dict[str, Any]]]


def read(folders: Sequence[Path]) -> Reports:
    """Returns recipe -> its reports, one a folder, by seed."""
    found: Reports = defaultdict(list)
    for folder in folders:
        for path in sorted(folder.glob("*/report.json")):
            report = json.loads(path.read_text(encoding="utf-8"))
            # with images held out, the errors are not those of the test images
            if not report["data"].get("holdout"):
                found[report["recipe"]].append(report)
    return {name: sorted(reports, key=lambda report: report["seed"]) for name, reports in found.items()}


def metric(report: Mapping[str, Any], stage: int = -1) -> tuple[str, float]:
    """Returns name and value of the metric of a stage, by default the last one; errors in per cent."""
    tests = report["stages"][stage]["tests"]
    return ("error", 100 * tests["error"]) if "error" in tests else ("loss", tests["loss"])


def rows(family: str, reports: Reports) -> Iterator[str]:
    """Yields the lines of a family's table."""
    unit, digits = ("error, %", 2) if metric(reports[family][0])[0] == "error" else ("nats", 4)
    yield (
        f"| recipe | epochs | minutes | parameters kept | frozen | test {unit}, by seed | median "
        "| against its start | against the control |"
    )
    yield "| --- | --: | --: | --: | --: | --- | --: | --: | --: |"
    for name in sorted((name for name in reports if name.startswith(family)), key=lambda name: (len(name), name)):
        values = [metric(report)[1] for report in reports[name]]
        stages = reports[name][0]["stages"]
        kept, total = (sum(column) for column in zip(*stages[-1]["kept"].values(), strict=True))
        frozen = max((stage["report"] or {}).get("frozen_share", 0.0) for stage in stages)
        cells = (
            f"`{name}`",
            f"{epochs(name, reports)}",
            f"{statistics.median(map(minutes, reports[name])):.1f}",
            f"{kept:,} ({100 * kept / total:.2f} %)",
            f"{100 * frozen:.0f} %",
            ", ".join(f"{value:.{digits}f}" for value in values),
            f"{statistics.median(values):.{digits}f}",
            change(reports[name], last(start(name), reports), digits),
            change(reports[name], control(name, family, reports), digits),
        )
        yield f"| {' | '.join(cells)} |"


def minutes(report: Mapping[str, Any]) -> float:
    """Returns how long the stages of a run took."""
    return float(sum(stage["seconds"] for stage in report["stages"])) / 60


def change(reports: Sequence[Mapping[str, Any]], before: Mapping[int, float], digits: int) -> str:
    """Returns the median of the changes of the metric to these reports, seed by seed.

    Args:
        reports: the reports of a recipe.
        before: seed -> what the metric was before. Runs from given weights (``compress --weights``) may share a single
            one, whatever its seed.
        digits: of the result.
    """
    if len(before) == 1 and all(report.get("weights") or report["seed"] in before for report in reports):
        before = dict.fromkeys((report["seed"] for report in reports), *before.values())
    pairs = [metric(report)[1] - before[report["seed"]] for report in reports if report["seed"] in before]
    return f"{statistics.median(pairs):+.{digits}f}" if pairs else ""


def last(name: str, reports: Reports) -> dict[int, float]:
    """Returns seed -> the metric at the end of a recipe."""
    return {report["seed"]: metric(report)[1] for report in reports.get(name, [])}


def start(name: str) -> str:
    """Returns the recipe that a recipe starts from, or an empty text."""
    return find_recipe(name).start if name in bundled() else ""


def control(name: str, family: str, reports: Reports) -> dict[int, float]:
    """Returns seed -> the metric of the family's dense net, trained on for as long as a recipe; or nothing."""
    if name == family or trained_on(name, family):
        return {}
    length = epochs_since(name, family, reports)
    found = {}
    for other in filter(lambda other: trained_on(other, family), reports):
        for report in reports[other]:
            total = epochs_since(start(other), family, reports)
            for number, stage in enumerate(report["stages"]):
                total += len(stage["history"])
                if total == length:
                    found[report["seed"]] = metric(report, number)[1]
    return found


def trained_on(name: str, family: str) -> bool:
    """Returns whether a recipe only trains the family's dense net on, maybe in several recipes one after another."""
    if name not in bundled() or any(stage.kind != "train" for stage in find_recipe(name).stages):
        return False
    return start(name) == family or trained_on(start(name), family)


def epochs(name: str, reports: Reports) -> int:
    """Returns the number of epochs that a recipe trains."""
    return sum(len(stage["history"]) for stage in reports[name][0]["stages"])


def epochs_since(name: str, family: str, reports: Reports) -> int:
    """Returns the number of epochs of a recipe and those before it, without those of the family's dense net."""
    if name == family or name not in reports:
        return 0
    return epochs(name, reports) + epochs_since(start(name), family, reports)


def draw(family: str, reports: Reports, folder: Path) -> None:
    """Draws the first seed's curves of a family."""
    curves = []
    for name in sorted((name for name in reports if name.startswith(family)), key=lambda name: (len(name), name)):
        history = [epoch for stage in reports[name][0]["stages"] for epoch in stage["history"]]
        if history and name != family:
            curves.append((short(title(name), title(family)), history))
    if curves:
        kind, dense = metric(reports[family][0])
        plots.epoch_lines(curves, folder / f"results_{family}.png", kind, f"{title(family)}, seed 1", dense)


def title(name: str) -> str:
    """Returns what a recipe is called, in words."""
    return find_recipe(name).title or name


def short(title: str, family: str) -> str:
    """Returns a title without that of its family."""
    return title.removeprefix(family).lstrip(", ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    reports = read(arguments.folders)
    for family in FAMILIES:
        if family in reports:
            print(f"\n## {family}\n")
            print("\n".join(rows(family, reports)))
            if arguments.pictures:
                draw(family, reports, arguments.pictures)


if __name__ == "__main__":
    main()
