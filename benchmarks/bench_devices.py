"""What do two processes gain over one, on the CPU over gloo?

    python benchmarks/bench_devices.py [--rounds 3] [--method DNS]

LeNet-5 on random images from an LMDB, by the command ``demitasse train`` itself; the speeds are those of its log.
Each process computes with one thread unless it says two. The rounds alternate. One process with half the batch has the
work of each of the two: what they take beyond it is the price of working together.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from demitasse.caffe import schema
from demitasse.caffe.sources.lmdb_store import write_lmdb

# side -> processes, batch of each, threads of each
SIDES = {
    "1 process, batch 64": (1, 64, 1),
    "1 process of 2 threads, batch 64": (1, 64, 2),
    "1 process, batch 32": (1, 32, 1),
    "2 processes, batch 32 each": (2, 32, 1),
}
DISPLAY, ITERATIONS = 50, 300


def write_database(path: Path) -> None:
    """Writes 5,000 images of MNIST's shape."""
    images = np.random.default_rng(0).integers(0, 256, (5000, 28, 28), np.uint8)
    write_lmdb(
        path,
        (
            (f"{i:05d}".encode(), schema.Datum(channels=1, height=28, width=28, data=x.tobytes()).SerializeToString())
            for i, x in enumerate(images)
        ),
    )


def write_solver(folder: Path, batch: int, method: str) -> Path:
    """Writes net and solver; returns the solver's path."""
    name = "dns_train_val" if method == "DNS" else "train_val"
    text = files("demitasse").joinpath(f"examples/lenet5/{name}.prototxt").read_text()
    text = text.replace("mnist_train_lmdb", str(folder / "lmdb")).replace("batch_size: 64", f"batch_size: {batch}")
    net, solver = folder / f"net_{batch}.prototxt", folder / f"solver_{batch}.prototxt"
    net.write_text(text)
    solver.write_text(
        f'net: "{net}" base_lr: 0.001 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 random_seed: 1 '
        f"max_iter: {ITERATIONS} display: {DISPLAY} snapshot_after_train: false solver_mode: CPU"
    )
    return solver


def milliseconds(solver: Path, processes: int, threads: int) -> float:
    """Returns how long an iteration takes, the median over the displays but the first."""
    command = [sys.executable, "-m", "demitasse", "train", f"-solver={solver}", f"-cpu={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    seconds = re.findall(rf"Iteration \d+ \(\S+ iter/s, (\S+)s/{DISPLAY} iters\)", done.stderr)
    return statistics.median(map(float, seconds[2:])) / DISPLAY * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=["", "DNS"], default="")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_database(folder / "lmdb")
        for _ in range(arguments.rounds):
            for side, (processes, batch, threads) in SIDES.items():
                times[side].append(milliseconds(write_solver(folder, batch, arguments.method), processes, threads))
    medians = {side: statistics.median(found) for side, found in times.items()}
    table = Table(title=f"LeNet-5, {os.cpu_count()} cores, median of {arguments.rounds} rounds")
    for column in ("side", "ms an iteration", "images a second"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, value in medians.items():
        processes, batch, _ = SIDES[side]
        table.add_row(side, f"{value:.1f}", f"{processes * batch / value * 1000:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
