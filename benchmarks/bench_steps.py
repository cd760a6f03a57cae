"""Where does the time of a sparse net go? The kernels of its program, each timed alone.

    .venv/bin/python benchmarks/bench_steps.py [--net resnet50] [--sparsity 0.8,0.9,0.95] [--batches 1,16]
        [--rounds 7] [--top 10] [--alike]

One thread, processor time, medians; all images of a batch are computed at once. For the steps that take longest: their
kernels, the share of the whole, the multiply-adds with weights that are not zero, and how many of them are done in a
second. With --alike, steps of the same shape are one row.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import ClassVar, NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from sparse_nets import all_but_first, sparse_net

from demitasse.graph import Graph
from demitasse.graph.graph import Step
from demitasse.runtime import optimize
from demitasse.runtime.native.lowering import base, lowered
from demitasse.runtime.native.lowering.base import Lowered
from demitasse.runtime.native.program import Program


class Call(NamedTuple):
    """A call of a kernel: the step that it is of, and the kernel's name."""

    step: str
    kernel: str


def _described(kernel: str, options: tuple[Hashable, ...]) -> str:
    numbers = [str(each) for each in options if type(each) is int]
    return " ".join([kernel, *numbers])


class _Noted(base.Lowering):
    """Notes the calls as they are added."""

    found: ClassVar[list[Call]] = []
    step = ""

    def call(self, build: Callable[..., object], options: tuple[Hashable, ...], *arguments: object) -> None:
        self.found.append(Call(self.step, _described(build.__name__, options)))
        super().call(build, options, *arguments)  # type: ignore[arg-type]


class Row(NamedTuple):
    """Steps that a table shows together: their names, kernel -> seconds, and the multiply-adds of each."""

    steps: set[str]
    kernels: dict[str, float]
    counts: list[int]

    @property
    def took(self) -> float:
        return sum(self.kernels.values())


class _Steps:
    """Tells the lowering which step it is at."""

    def __contains__(self, kind: str) -> bool:
        return kind in _LOWER

    def __getitem__(self, kind: str) -> Callable[[_Noted, Step], None]:
        def lower(made: _Noted, step: Step) -> None:
            made.step = step.name
            _LOWER[kind](made, step)
            made.step = ""

        return lower


_LOWER = base.LOWER


def noted(graph: Graph, batch: int) -> tuple[Lowered, list[Call]]:
    """Returns the program for one thread, and its calls."""
    kept = base.Lowering, base.LOWER
    _Noted.found = []
    base.Lowering, base.LOWER = _Noted, _Steps()  # type: ignore[misc,assignment]
    try:
        return lowered(graph, batch, 1), _Noted.found
    finally:
        base.Lowering, base.LOWER = kept  # type: ignore[misc]


def seconds(program: Program, rounds: int) -> list[float]:
    """Returns the processor time of each call."""
    words = program._calls
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    calls = [(kind(kernel), block) for kernel, block in zip(words[::2], words[1::2], strict=True)]
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for (function, block), found in zip(calls, times, strict=True):
            start = time.thread_time()
            function(block, 0, 1)
            found.append(time.thread_time() - start)
    return [statistics.median(found[1:]) for found in times]


def work(graph: Graph, step: Step, batch: int) -> tuple[int, str]:
    """Returns the multiply-adds of a step that are not with 0, and its shape."""
    if "weight" not in step.weights or step.kind not in ("Convolution", "InnerProduct"):
        return 0, step.kind
    weight, out = step.weights["weight"], graph.values[step.outputs[0]].shape
    count = int(weight.count_nonzero()) * math.prod(out[2:]) * batch
    size = "x".join(map(str, weight.shape))
    stride = f" /{step.settings.stride[0]}" if step.kind == "Convolution" and step.settings.stride[0] > 1 else ""
    return count, f"{size}{stride} -> {'x'.join(map(str, out[2:])) or 1}"


def steps_table(net: str, sparsity: float, batch: int, rounds: int, top: int, alike: bool) -> Table:
    graph = optimize(sparse_net(net, all_but_first(sparsity))).graph
    made, calls = noted(graph, batch)
    for array in made.inputs.values():
        array[...] = torch.randn(array.shape)
    made.program.run()
    steps = {step.name: step for step in graph.steps}
    rows: dict[str, Row] = defaultdict(lambda: Row(set(), defaultdict(float), []))
    for call, took in zip(calls, seconds(made.program, rounds), strict=True):
        count, shape = work(graph, steps[call.step], batch) if call.step else (0, "in and out")
        row = rows[shape if alike else call.step]
        if call.step not in row.steps:
            row.counts.append(count)
        row.steps.add(call.step)
        row.kernels[call.kernel] += took
    whole, total = sum(row.took for row in rows.values()), sum(sum(row.counts) for row in rows.values())
    title = f"{net}, {sparsity:.0%}, batch {batch}: {1000 * whole:.2f} ms, {total / whole / 1e9:.1f} G multiply-adds/s"
    shown = Table("step", "shape", "kernels, ms", "ms", "share", "M multiply-adds", "G/s", title=title)
    for row in sorted(rows.values(), key=lambda row: -row.took)[:top]:
        first = min(row.steps)
        name = f"{first} and {len(row.steps) - 1} more" if len(row.steps) > 1 else first
        shape = work(graph, steps[first], batch)[1] if first else "in and out"
        kernels = ", ".join(f"{kernel}: {1000 * each:.2f}" for kernel, each in row.kernels.items())
        shown.add_row(
            name, shape, kernels, f"{1000 * row.took:.2f}", f"{row.took / whole:.1%}", f"{sum(row.counts) / 1e6:.1f}",
            f"{sum(row.counts) / row.took / 1e9:.1f}",
        )  # fmt: skip
    return shown


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", default="resnet50")
    parser.add_argument("--sparsity", default="0.8,0.9,0.95")
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--alike", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for sparsity in map(float, args.sparsity.split(",")):
        for batch in map(int, args.batches.split(",")):
            Console(width=160).print(steps_table(args.net, sparsity, batch, args.rounds, args.top, args.alike))


if __name__ == "__main__":
    main()
