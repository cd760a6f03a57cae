"""What does a method cost a training loop, beside the bare loop and beside torch.ao.pruning?

    .venv/bin/python benchmarks/bench_methods.py [--model resnet20] [--batch 128] [--rounds 9] [--device cuda]

All sides train the same model on the same data in memory; a round is one step of every side, in turn, so that a noisy
machine hits all alike. The table shows medians, the median of the ratios to the bare step of the same round, and the
memory that the method holds, in copies of the compressed parameters. Surgery decides after every step (gamma 0), the
dearest case, and once rarely, as late in a run.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", choices=sorted(SHAPES), default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
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
