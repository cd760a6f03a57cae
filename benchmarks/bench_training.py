"""How long does a training iteration take beside a bare PyTorch loop with the same modules?

    .venv/bin/python benchmarks/bench_training.py [--net lenet5|alexnet] [--rounds 5]

Both sides train on the same data in memory, channels last. The rounds alternate, so that a noisy machine hits
all sides alike; the table shows medians and ratios. The bare loop is timed with torch.optim.SGD as it comes and
with ``fused=True``; the ratios are to the faster of the two.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable
from importlib.resources import files

import bare_nets
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from demitasse.caffe import schema
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver

SHAPES = {"lenet5": (64, 1, 28, 28), "alexnet": (16, 3, 227, 227)}
CLASSES = {"lenet5": 10, "alexnet": 1000}
ITERATIONS = {"lenet5": 100, "alexnet": 4}
METHODS = {"plain": "", "surgery (DNS)": "DNS", "quantization (INQ)": "INQ"}


def lenet5() -> nn.Sequential:
    """The modules of LeNet-5 as a PyTorch user writes them."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2, 2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(inplace=True),
        nn.Linear(500, 10),
    )


def alexnet() -> nn.Sequential:
    """The modules of CaffeNet, Caffe's AlexNet, up to its scores."""
    return bare_nets.alexnet()[:-1]


MODULES: dict[str, Callable[[], nn.Sequential]] = {"lenet5": lenet5, "alexnet": alexnet}


def bare_loop(name: str, images: torch.Tensor, labels: torch.Tensor, fused: bool) -> Callable[[int], None]:
    """Returns ``run(n)``: n iterations of the loop that everybody writes."""
    model = MODULES[name]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=fused)
    batch = SHAPES[name][0]

    def run(iterations: int) -> None:
        for i in range(iterations):
            start = i * batch % len(images)
            inputs = images[start : start + batch].contiguous(memory_format=torch.channels_last)
            loss = nn.functional.cross_entropy(model(inputs), labels[start : start + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def demitasse_loop(name: str, images: torch.Tensor, labels: torch.Tensor, method: str) -> Callable[[int], None]:
    """Returns ``run(n)``: n iterations of what ``demitasse train`` runs, the data layers replaced by memory."""
    net = prototxt.read_net(str(files("demitasse").joinpath(f"examples/{name}/train_val.prototxt")))
    data = schema.LayerParameter(name="data", type="MemoryData", top=["data", "label"])
    batch, data.memory_data_param.channels, height, width = SHAPES[name]
    data.memory_data_param.batch_size = batch
    data.memory_data_param.height, data.memory_data_param.width = height, width
    layers = [data, *(layer for layer in net.layer if layer.type != "Data" and not _for_test(layer))]
    del net.layer[:]
    net.layer.extend(layers)
    if method:
        for layer in net.layer:
            if layer.type in ("Convolution", "InnerProduct"):
                _compress(layer, method)
    param = schema.SolverParameter(
        net_param=net, base_lr=1e-4, lr_policy="fixed", momentum=0.9, weight_decay=5e-4, max_iter=10**6
    )
    param.snapshot_after_train, param.random_seed, param.type = False, 1, "SGD"
    param.solver_mode = schema.SolverParameter.SolverMode.Value("CPU")
    solver = Solver(param, "benchmark")
    solver.net.sources["data"].set_arrays(images.numpy(), labels.numpy().astype(np.float32))  # type: ignore[attr-defined]
    return solver.step


def _for_test(layer: schema.Message) -> bool:
    return any(rule.phase == schema.TEST for rule in layer.include) or layer.type == "Accuracy"


def _compress(layer: schema.Message, method: str) -> None:
    settings = f"{method.lower()}_{'convolution' if layer.type == 'Convolution' else 'inner_product'}_param"
    layer.type = method + layer.type
    message = getattr(layer, settings)
    message.SetInParent()
    if method == "DNS":
        message.gamma = 0  # surgery at every iteration, the dearest case
    else:
        message.portion.extend([0, 0.5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--net", choices=sorted(SHAPES), action="append")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    for name in arguments.net or sorted(SHAPES):
        measure(name, arguments.rounds)


def measure(name: str, rounds: int) -> None:
    """Prints the table of one net."""
    torch.manual_seed(1)
    batch, *image = SHAPES[name]
    images = torch.randn(4 * batch, *image)
    labels = torch.randint(CLASSES[name], (4 * batch,))
    sides = {
        "bare PyTorch, SGD": bare_loop(name, images, labels, fused=False),
        "bare PyTorch, fused SGD": bare_loop(name, images, labels, fused=True),
    }
    sides |= {f"demitasse, {kind}": demitasse_loop(name, images, labels, key) for kind, key in METHODS.items()}
    times: dict[str, list[float]] = {side: [] for side in sides}
    for run in sides.values():
        run(2)
    for _ in range(rounds):
        for side, run in sides.items():
            start = time.perf_counter()
            run(ITERATIONS[name])
            times[side].append((time.perf_counter() - start) / ITERATIONS[name])
    medians = {side: statistics.median(found) for side, found in times.items()}
    bare = min(value for side, value in medians.items() if side.startswith("bare"))
    threads = torch.get_num_threads()
    table = Table(title=f"{name}, batch {batch}, {threads} threads, median of {rounds} x {ITERATIONS[name]} iterations")
    for column in ("side", "ms an iteration", "iterations a second", "ratio to bare"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, value in medians.items():
        table.add_row(side, f"{value * 1e3:.1f}", f"{1 / value:.1f}", f"{value / bare:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
