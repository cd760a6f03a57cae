"""How small do the LeNets get on MNIST and Fashion-MNIST? Size of the whole .demi file against error, seed by seed.

    .venv/bin/python benchmarks/records.py --out results [--nets lenet5_mnist ...] [--seeds 1 2 3] [--data FOLDER]
        [--fashion FOLDER] [--picture records.png]

Runs the recipes ``*_mnist_small_*`` with every seed; what is done is not done again. They train on 50,000 images and
are chosen by the error on the other 10,000 training images. Hidden units are put in the order that takes the fewest
bytes; the test images are looked at here, once, with the model that comes out of that file. Prints a table for each
net; the smallest file whose error on the held out images keeps to the net's limit, by the median of its seeds, is
marked.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from demitasse import load, reorder_units, save
from demitasse.compress import compress
from demitasse.report.canvas import figure_at, plain_axes
from demitasse.report.published import PUBLISHED, Published
from demitasse.report.style import COLOURS, INK
from demitasse.zoo.data import DATASETS, TrainingData
from demitasse.zoo.models import MODELS
from demitasse.zoo.recipe import Recipe, bundled, find_recipe
from demitasse.zoo.training import evaluate


class Net(NamedTuple):
    """A net on a data set.

    Attributes:
        title: its name and that of the data.
        limit: the validation error, in per cent, that a record may have.
        ticks: marks of bytes.
        published: results to compare with.
    """

    title: str
    limit: float
    ticks: tuple[int, ...]
    published: Sequence[Published] = ()


# the beginning of the recipes' names -> the net
NETS = {
    "lenet5_mnist": Net("LeNet-5, MNIST", 1.0, (1000, 1500, 2000, 3000), PUBLISHED["lenet5", "mnist"]),
    "lenet300_mnist": Net("LeNet-300-100, MNIST", 1.9, (2000, 5000, 10_000, 20_000), PUBLISHED["lenet300", "mnist"]),
    "lenet5_fashion_mnist": Net("LeNet-5, Fashion-MNIST", 10.0, (2000, 5000, 10_000)),
}


class Measured(NamedTuple):
    """One run: parameters that are not zero, bytes of the file before and after reordering, errors in per cent."""

    kept: int
    plain: int
    bytes: int
    validation: float
    test: float


Rows = dict[str, list[Measured]]


def measure(name: str, seed: int, out: Path, data: Path | None) -> Measured:
    """Runs a recipe where that was not done yet, puts the hidden units in order, and tests what is in the file."""
    recipe, folder = find_recipe(name), out / str(seed)
    packed = compress(recipe, folder, seed=seed, data=data)[-1]
    found = recipe if data is None else replace(recipe, data=replace(recipe.data, path=data))
    model = MODELS[found.model.name](**found.model.settings)
    plain, file = folder / name / packed.file, folder / name / "smallest.demi"
    example = next(source(found, found.data.settings).test_batches())[0][:1]
    save(reorder_units(load(plain, model).eval(), example), file)
    load(file, model)
    without = {key: value for key, value in found.data.settings.items() if key != "holdout"}
    return Measured(
        sum(some for some, _ in packed.kept.values()),
        plain.stat().st_size,
        file.stat().st_size,
        *(100 * evaluate(model, source(found, settings))["error"] for settings in (found.data.settings, without)),
    )


def source(recipe: Recipe, settings: Mapping[str, Any]) -> TrainingData:
    """Returns the data of a recipe with other settings."""
    return DATASETS[recipe.data.name](recipe.data.path, **settings)


def middle(runs: Sequence[Measured]) -> Measured:
    """Returns the median of every figure."""
    return Measured(*(statistics.median(column) for column in zip(*runs, strict=True)))  # type: ignore[arg-type]


def chosen(rows: Rows, limit: float) -> str | None:
    """Returns the recipe with the smallest files, of those whose error on the held out digits keeps to the limit."""
    within = {name: middle(runs).bytes for name, runs in rows.items() if middle(runs).validation <= limit}
    return min(within, key=lambda name: within[name], default=None)


def table(rows: Rows, limit: float) -> Iterator[str]:
    """Yields the lines of a net's table, the largest files first."""
    yield "| recipe | parameters kept | bytes as trained | reordered | validation error, % | test error, % | medians |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    best = chosen(rows, limit)
    for name, runs in sorted(rows.items(), key=lambda row: -middle(row[1]).bytes):
        kept, plain, size, validation, test = (list(column) for column in zip(*runs, strict=True))
        errors = (", ".join(f"{value:.2f}" for value in values) for values in (validation, test))
        mark, median = "**" if name == best else "", middle(runs)
        yield (
            f"| {mark}`{name}`{mark} | {_numbers(kept)} | {_numbers(plain)} | {_numbers(size)} | {' | '.join(errors)} "
            f"| {mark}{median.bytes:,} bytes, {median.validation:.2f} and {median.test:.2f} %{mark} |"
        )


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(f"{value:,}" for value in values)


def draw(found: dict[str, Rows], path: Path) -> None:
    """Draws test error against size: every seed, a line through the medians, and what is published."""
    with figure_at(path, 5.2 * len(found), 4.6) as figure:
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for axes, (net, rows) in zip(panels, found.items(), strict=True):
            _panel(axes, NETS[net], rows)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)


def _panel(axes: Axes, net: Net, rows: Rows) -> None:
    points = sorted((run.bytes, run.test) for runs in rows.values() for run in runs)
    medians = sorted((middle(runs).bytes, middle(runs).test) for runs in rows.values())
    axes.plot(*zip(*points, strict=True), "o", color=COLOURS[1], alpha=0.5, label="demitasse, each seed")
    axes.plot(*zip(*medians, strict=True), "-", color=COLOURS[0], label="medians")
    places = [one.bytes for one in net.published], [one.error for one in net.published]
    axes.plot(*places, "D", color=COLOURS[2], label="published")
    for one in net.published:
        axes.annotate(one.paper, (one.bytes, one.error), (0, 7), textcoords="offset points", ha="center", fontsize=7)
    axes.axhline(net.limit, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xscale("log")
    axes.set_xticks(net.ticks, [f"{tick:,}" for tick in net.ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="bytes of the whole file", ylabel="test error (%)")
    axes.set_title(net.title, loc="left", weight="bold", color=INK)
    plain_axes(axes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, help="the folder of MNIST")
    parser.add_argument("--fashion", type=Path, help="the folder of Fashion-MNIST")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    found = {}
    for net in arguments.nets:
        names = [name for name in bundled() if name.startswith(f"{net}_small_")]
        data = arguments.fashion if "fashion" in net else arguments.data
        found[net] = {name: [measure(name, seed, arguments.out, data) for seed in arguments.seeds] for name in names}
    for net, rows in found.items():
        print(f"\n## {NETS[net].title}\n")
        print("\n".join(table(rows, NETS[net].limit)))
    if arguments.picture:
        draw(found, arguments.picture)


if __name__ == "__main__":
    main()
