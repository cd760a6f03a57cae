"""run, bench: compute a net from a .demi file, and measure how long that takes."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demitasse.cli.commands import FILES, Command
from demitasse.cli.inputs import all_existing, existing
from demitasse.errors import DataError, FileFormatError, UsageError

if TYPE_CHECKING:
    from demitasse.arrays import Array
    from demitasse.cli.best_classes import Classes
    from demitasse.cli.run_inputs import Batch
    from demitasse.preparation import Preparation
    from demitasse.runtime.file_plan import FilePlan


def _checked_threads(count: int) -> int:
    cores = os.cpu_count() or 1
    if count > cores:
        raise UsageError(f"--threads {count}: this machine has {cores} core{'s' * (cores > 1)}")
    return count


def _give_back_freed_memory() -> None:
    """Makes the C library give freed arrays back to the system.

    Otherwise glibc keeps what it gets after the first large array is freed: decoding a file leaves megabytes of holes.
    """
    threshold, largest = -3, 1 << 17  # M_MMAP_THRESHOLD, in bytes
    with suppress(OSError, TypeError, AttributeError):  # another C library, or one that has no such setting
        ctypes.CDLL(None).mallopt(threshold, largest)


Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help=".demi file that contains its net (pack --definition).", callback=existing),
]
Threads = Annotated[
    int, typer.Option(help="Number of threads; 0 for PyTorch's own choice.", min=0, callback=_checked_threads)
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for name, function in (("run", run), ("bench", bench)):
        app.command(name, cls=Command, rich_help_panel=FILES, no_args_is_help=True)(function)


def run(
    model: Model,
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="Images; or .npy for a net with one input, .npz with an array for each.",
            callback=all_existing,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="File to write: .npy for one output, or .npz; default: only print.")
    ] = None,
    blob: Annotated[list[str] | None, typer.Option(help="Blob to return; default: the outputs of the net.")] = None,
    threads: Threads = 0,
) -> None:
    """Run the net of a .demi file on images or arrays; show the five best classes of each image."""
    from demitasse.cli import run_outputs
    from demitasse.cli.run_inputs import Wanted, batches
    from demitasse.runtime.file_plan import FilePlan
    from demitasse.text_table import show

    _give_back_freed_memory()
    plan = FilePlan(model, blob or (), threads)
    run_outputs.check_file(output, list(plan.graph.outputs), not plan.is_module)
    preparation, classes = _told(model, plan)
    wanted = {
        name: Wanted(plan.graph.values[plan.graph.inputs[name]].shape, each.dtype) for name, each in plan.inputs.items()
    }
    parts: dict[str, list[Array]] = {}
    notes: list[str] | None = None
    for batch in batches(inputs, wanted, preparation):
        for name, array in _computed(plan, batch).items():
            parts.setdefault(name, []).append(array)
        if batch.images and classes:
            notes = classes.notes
            for table in classes.tables(batch.images, parts[classes.output][-1]):
                show(table)
    found = {name: run_outputs.joined(arrays) for name, arrays in parts.items()}
    for line in run_outputs.lines(found) if notes is None else notes:
        print(line)
    if output:
        run_outputs.write(output, found)


def bench(
    model: Model,
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=1)] = 1,
    threads: Threads = 0,
    rounds: Annotated[int, typer.Option(help="Times to measure each way.", min=1)] = 9,
    vs: Annotated[
        str, typer.Option(metavar="NAMES", help="Other runtimes to measure: onnxruntime, openvino or both.")
    ] = "",
) -> None:
    """Measure how long the net of a .demi file takes: from sparse weights, and with dense operations."""
    import torch

    from demitasse.cli.rivals import rivals
    from demitasse.report.progress import count_bar
    from demitasse.runtime import report
    from demitasse.runtime.file_plan import FilePlan
    from demitasse.runtime.timing import measured, ways
    from demitasse.text_table import Column, TextTable, show
    from demitasse.threads import threads as using

    net = FilePlan(model)
    plan, inputs = net.plan(), net.random(batch)
    with using(threads):
        count = torch.get_num_threads()
        runs = {**ways(plan, inputs), **rivals(vs, model, plan, inputs, count)}
        with count_bar("Measuring") as progress:
            layers, timings = report(plan, batch).table(), measured(runs, rounds, progress)
    show(layers)
    columns = (Column("computed from", left=True), Column("ms"), Column("ratio"))
    rows = [(each.name, f"{each.milliseconds:.3f}", f"{each.ratio:.2f}") for each in timings]
    title = f"{model.name}, batches of {batch}, {count} thread{'s' * (count > 1)}: medians of {rounds} rounds"
    show(TextTable(title, columns, rows))


def _computed(plan: FilePlan, batch: Batch) -> dict[str, Array]:
    """Returns the outputs for a batch.

    Raises:
        DataError: the net cannot compute these values; names their files.
    """
    try:
        return plan(batch.arrays)
    except UsageError as error:
        raise DataError(f"{', '.join(map(str, batch.files))}: {error}") from error


def _told(model: Path, plan: FilePlan) -> tuple[Preparation | None, Classes | None]:
    """Returns how the file says that images are prepared, and what its output says about their classes.

    Raises:
        FileFormatError: its metadata is not valid, or does not fit the net.
    """
    from demitasse.cli.best_classes import classes_of
    from demitasse.preparation import classes_in, preparation_in

    try:
        return preparation_in(plan.metadata), classes_of(plan.graph, classes_in(plan.metadata))
    except FileFormatError as error:
        raise error.within(str(model)) from error
