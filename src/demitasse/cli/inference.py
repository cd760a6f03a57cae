"""run, bench: compute a net from a .demi file, and measure how long that takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demitasse.cli.commands import FILES, Command
from demitasse.cli.inputs import existing
from demitasse.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from demitasse.graph import Graph

Model = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help=".demi file that contains its net (pack --definition).", callback=existing),
]
Threads = Annotated[int, typer.Option(help="Number of threads; 0 for PyTorch's own choice.", min=0)]


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for name, function in (("run", run), ("bench", bench)):
        app.command(name, cls=Command, rich_help_panel=FILES, no_args_is_help=True)(function)


def run(
    model: Model,
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help=".npy for a net with one input, or .npz with an array for each.", callback=existing
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="The .npz file to write; default: only print.")] = None,
    blob: Annotated[list[str] | None, typer.Option(help="Blob to return; default: the outputs of the net.")] = None,
    threads: Threads = 0,
) -> None:
    """Run the net of a .demi file on arrays: the first axis is the batch."""
    import io

    import numpy as np

    from demitasse.files import write_bytes
    from demitasse.runtime import optimize, plan_in
    from demitasse.threads import threads as using

    plan = plan_in(optimize(model, keep=blob or ()))
    batch = _read(inputs, plan.graph)
    with using(threads):
        found = {name: tensor.numpy() for name, tensor in plan(batch).items()}
    for name, array in found.items():
        rows = array.reshape(len(array), -1) if array.ndim > 1 else array[:, None]
        print(f"{name}: shape {list(array.shape)}, greatest at {rows.argmax(1)[:10].tolist()}")
    if output:
        buffer = io.BytesIO()
        np.savez(buffer, **found)  # type: ignore[arg-type]
        write_bytes(output, buffer.getvalue())


def bench(
    model: Model,
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=1)] = 1,
    threads: Threads = 0,
    rounds: Annotated[int, typer.Option(help="Times to measure each way.", min=1)] = 9,
) -> None:
    """Measure how long the net of a .demi file takes: from sparse weights, and with dense operations."""
    import torch

    from demitasse.report.progress import count_bar
    from demitasse.runtime import optimize, plan_in, report
    from demitasse.runtime.timing import measured, ways
    from demitasse.text_table import Column, TextTable, show
    from demitasse.threads import threads as using

    plan = plan_in(optimize(model))
    generator = torch.Generator().manual_seed(0)
    shapes = {name: plan.graph.values[number].shape[1:] for name, number in plan.graph.inputs.items()}
    inputs = {name: torch.randn(batch, *shape, generator=generator) for name, shape in shapes.items()}
    with using(threads), count_bar("Measuring") as progress:
        layers, timings = report(plan, batch).table(), measured(ways(plan, inputs), rounds, progress)
        count = torch.get_num_threads()
    show(layers)
    columns = (Column("computed from", left=True), Column("ms"), Column("ratio"))
    rows = [(each.name, f"{each.milliseconds:.3f}", f"{each.ratio:.2f}") for each in timings]
    title = f"{model.name}, batches of {batch}, {count} thread{'s' * (count > 1)}: medians of {rounds} rounds"
    show(TextTable(title, columns, rows))


def _read(path: Path, graph: Graph) -> dict[str, Tensor]:
    """Returns the inputs of a graph as float32.

    Raises:
        UsageError: the file is neither .npy nor .npz.
        DataError: it cannot be read, or has other arrays than the net needs.
    """
    import zipfile

    import numpy as np
    import torch

    if path.suffix not in (".npy", ".npz"):
        raise UsageError(f"{path}: expected an array, .npy or .npz")
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = dict(found) if path.suffix == ".npz" else dict.fromkeys(graph.inputs, found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if path.suffix == ".npy" and len(graph.inputs) != 1:
        raise DataError(f"{path}: the net has the inputs {', '.join(graph.inputs)}; give a .npz file with all of them")
    batch = {}
    for name, number in graph.inputs.items():
        shape = graph.values[number].shape
        if name not in arrays:
            raise DataError(f"{path}: there is no array {name!r}; found {', '.join(arrays) or 'none'}")
        array = arrays[name]
        if array.dtype.kind not in "fiub" or array.shape[1:] != shape[1:] or not array.ndim:
            raise DataError(
                f"{path}: {name} has shape {list(array.shape)} of {array.dtype}; "
                f"expected numbers of shape {['n', *shape[1:]]}"
            )
        batch[name] = torch.from_numpy(array.astype(np.float32))
    return batch
