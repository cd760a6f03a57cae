"""What does a method cost a training loop, beside the bare loop and beside torch.ao.pruning?

    .venv/bin/python benchmarks/bench_methods.py [--model resnet20] [--batch 128] [--rounds 9] [--device cuda]
    .venv/bin/python benchmarks/bench_methods.py --size [134] [--rounds 5] [--beside OTHER/src]

All sides train the same model on the same data in memory; a round is one step of every side, in turn, so that a noisy
machine hits all alike. The table shows medians, the median of the ratios to the bare step of the same round, and the
memory that the method holds, in copies of the compressed parameters. Surgery decides after every step (gamma 0), the
dearest case, and once rarely, as late in a run.

``--size`` measures what grows with the number of weights: the portions of a quantization, a decision of surgery, and
writing the file. The model is two linear layers, which have that many million weights together. Every row is a process
of its own; peak memory is that of the process above what it had before the layers were made, in copies of the weights,
which count as one of them. ``--beside`` measures an older checkout by the same script, in turn with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import demitasse
from demitasse.methods.method import Method
from demitasse.zoo.models import MODELS

SHAPES = {"lenet5": (1, 28, 28), "resnet20": (3, 32, 32), "resnet56": (3, 32, 32), "resnet50": (3, 224, 224)}
CLASSES = {"resnet50": 1000}


class Side:
    """One way to train: a model, its optimizer, and what is attached to them."""

    def __init__(self, arguments: argparse.Namespace, attach: Callable[[nn.Module, torch.optim.Optimizer], object]):
        torch.manual_seed(1)
        self.device = torch.device(arguments.device)
        model = MODELS[arguments.model]().to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
        self.attached = attach(model, self.optimizer)
        self.model = torch.compile(model) if arguments.compile else model
        self.bf16 = arguments.bf16

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Takes one step and returns its seconds."""
        start = time.perf_counter()
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = nn.functional.cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def memory(self) -> str:
        """Returns the bytes that a method holds, by those of the compressed parameters."""
        if not isinstance(self.attached, Method):
            return ""
        held = compressed = 0
        for record in self.attached.records.values():
            compressed += record.values.nbytes
            held += record.status.nbytes + (0 if record.reserve is None else record.reserve.nbytes)
        return f"{held / compressed:.2f}"


def quantization(model: nn.Module, optimizer: torch.optim.Optimizer) -> Method:
    method = demitasse.IncrementalQuantization(model, optimizer, bits=4)
    next(iter(method))
    return method


def mask_of(weight: torch.Tensor) -> torch.Tensor:
    """Returns a mask with nine zeros in ten, by magnitude."""
    magnitude = weight.detach().abs()
    return (magnitude > magnitude.flatten().kthvalue(int(0.9 * magnitude.numel())).values).float()


class Parametrised:
    """torch.ao.pruning: a parametrisation a layer, weight * mask in every forward; masks stand still.

    Its own sparsifiers know matrices only, so the masks are set here.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        from torch.ao.pruning import FakeSparsity
        from torch.nn.utils import parametrize

        for module in list(model.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                parametrize.register_parametrization(module, "weight", FakeSparsity(mask_of(module.weight)))


def torch_prune(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """torch.nn.utils.prune: a mask and a forward hook a layer; masks stand still.

    Its own choice by magnitude fails on channels_last weights, so the masks are set here.
    """
    from torch.nn.utils import prune

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.custom_from_mask(module, "weight", mask_of(module.weight))


SIDES: dict[str, Callable[[nn.Module, torch.optim.Optimizer], object]] = {
    "bare loop": lambda model, optimizer: None,
    "Surgery, every step": lambda m, o: demitasse.Surgery(m, o, sparsity=0.9, ramp=0, gamma=0),
    "Surgery, now and then": lambda m, o: demitasse.Surgery(m, o, sparsity=0.9, ramp=0, gamma=1),
    "MagnitudePruning, every step": lambda m, o: demitasse.MagnitudePruning(m, o, sparsity=0.9, ramp=10**6),
    "IncrementalQuantization": quantization,
    "torch.ao.pruning": Parametrised,
    "torch.nn.utils.prune": torch_prune,
}


def width_of(millions: int) -> int:
    """Returns inputs and outputs of each of the two layers."""
    return 1024 * max(round((millions * 1e6 / 2) ** 0.5 / 1024), 1)


def large(millions: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Returns two layers without bias, and an optimizer at rate 0, so that nothing but the method moves weights."""
    width = width_of(millions)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False))
    return model, torch.optim.SGD(model.parameters(), lr=0.0)


def two_portions(millions: int, rounds: int) -> list[float]:
    model, optimizer = large(millions)
    times = []
    method = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(0.5, 1.0))
    for _ in range(2):
        start = time.perf_counter()
        method.freeze()
        times.append(time.perf_counter() - start)
    return [sum(times)]


def decisions(millions: int, rounds: int) -> list[float]:
    model, optimizer = large(millions)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.9, ramp=1000, gamma=0)
    surgery.iteration = 500  # in the midst of the ramp, where the zeros are 79 % and become 0.07 % more at each step
    times = []
    with torch.no_grad():
        surgery.after_step(None)
        for _ in range(2 * rounds):
            start = time.perf_counter()
            surgery.after_step(None)
            times.append(time.perf_counter() - start)
    return times


def saving(millions: int, rounds: int) -> list[float]:
    model, optimizer = large(millions)
    method = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(1.0,))
    method.freeze()
    method.finish()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        demitasse.save(model, Path(folder) / "model.demi")
        return [time.perf_counter() - start]


TASKS: dict[str, Callable[[int, int], list[float]]] = {
    "IncrementalQuantization, two portions": two_portions,
    "Surgery, a decision": decisions,
    "save, quantized to 4 bits": saving,
}


def run_task(name: str, arguments: argparse.Namespace) -> None:
    """Runs one task in this process and prints its result as JSON."""
    TASKS[name](2, 1)  # compiles the loops
    before = _memory()
    times = TASKS[name](arguments.size, arguments.rounds)
    weights = 2 * width_of(arguments.size) ** 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"times": times, "weights": weights, "copies": (peak - before) / weights / 4}))


def _memory() -> int:
    """Returns the bytes that this process holds now; on Linux alone, elsewhere its peak so far."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_size(arguments: argparse.Namespace) -> None:
    """Prints the table of ``--size``."""
    here = str(Path(demitasse.__file__).parents[1])
    sides = {"here": here} | ({"beside": arguments.beside} if arguments.beside else {})
    table = Table(title=f"{arguments.size} million weights in two layers, {arguments.threads} threads")
    for column in ("task", "side", "s", "ns a weight", "peak, copies of the weights"):
        table.add_column(column, justify="left" if column in ("task", "side") else "right")
    for name in TASKS:
        results: dict[str, list[dict[str, list[float]]]] = {side: [] for side in sides}
        for _ in range(arguments.repeat):
            for side, source in sides.items():
                results[side].append(_in_process(name, source, arguments))
        for side, found in results.items():
            seconds = statistics.median(value for one in found for value in one["times"])
            copies = statistics.median(one["copies"] for one in found)
            table.add_row(name, side, f"{seconds:.2f}", f"{seconds / found[0]['weights'] * 1e9:.1f}", f"{copies:.2f}")
    Console().print(table)


def _in_process(name: str, source: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    settings = (("--size", arguments.size), ("--rounds", arguments.rounds), ("--threads", arguments.threads))
    command = [sys.executable, __file__, "--task", name, *(str(word) for pair in settings for word in pair)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": source}, stdout=subprocess.PIPE, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", choices=sorted(SHAPES), default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--size", type=int, nargs="?", const=134, help="millions of weights: what grows with them")
    parser.add_argument("--beside", help="with --size: the src folder of an older checkout")
    parser.add_argument("--repeat", type=int, default=3, help="with --size: processes a row")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    if arguments.task:
        run_task(arguments.task, arguments)
    elif arguments.size:
        measure_size(arguments)
    else:
        measure(arguments)


def measure(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    images = torch.randn(arguments.batch, *SHAPES[arguments.model], device=arguments.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES.get(arguments.model, 10), (arguments.batch,), device=arguments.device)
    sides = {name: Side(arguments, attach) for name, attach in SIDES.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds + 2):
        for name, side in sides.items():
            seconds = side.step(images, labels)
            if number >= 2:
                times[name].append(seconds)
    table = Table(
        title=f"{arguments.model}, batch {arguments.batch}, {arguments.device}, {arguments.threads} threads, "
        f"median of {arguments.rounds} steps"
    )
    for column in ("side", "ms a step", "ratio to bare", "copies held"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for name, side in sides.items():
        ratios = [mine / bare for mine, bare in zip(times[name], times["bare loop"], strict=True)]
        table.add_row(
            name, f"{statistics.median(times[name]) * 1e3:.1f}", f"{statistics.median(ratios):.3f}", side.memory()
        )
    Console().print(table)


if __name__ == "__main__":
    main()
