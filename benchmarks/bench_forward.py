"""How long does a forward pass take beside bare PyTorch modules and OpenCV's Caffe importer?

    .venv/bin/python benchmarks/bench_forward.py [--nets alexnet,resnet50] [--batches 1,16] [--rounds 9] [--threads 2]
    .venv/bin/python benchmarks/bench_forward.py --threads 1 --processor-time   # on a machine that others use

All sides compute the same net with the same random weights; OpenCV reads them from a caffemodel that we write. The
bare modules stand in eval mode, under no_grad, and get the faster of channels last and contiguous; their images are in
that order already, ours and OpenCV's are as they come. The rounds alternate, so that a noisy machine hits all sides
alike; the table shows medians, and the median over the rounds of the ratios within a round. Before, the scores of all
sides are compared: no entry may differ by more than 1e-4 of the largest.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from bare_nets import NETS, bare
from rich.console import Console
from rich.table import Table

from demitasse import examples
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.net import Net
from demitasse.caffe.weights import save_weights
from demitasse.runtime import optimize

FOLDER = Path(examples.__file__).parent
TOLERANCE = 1e-4
Run = Callable[[], np.ndarray]


def random_net(name: str) -> Net:
    """Returns the net with statistics and scales that keep numbers at their size, as training would."""
    torch.manual_seed(0)
    net = Net.from_file(FOLDER / name / "deploy.prototxt")
    with torch.no_grad():
        for layer in net.named_layers().values():
            if isinstance(layer, BatchNorm):
                layer.mean.normal_(0, 0.1)
                layer.variance.uniform_(0.5, 1.5)
                layer.factor.fill_(1)
            elif layer.spec.type == "Scale":
                layer.weight.uniform_(0.2, 0.7)
                layer.bias.normal_(0, 0.1)
    return net


def check(name: str, net: Net, images: torch.Tensor, opencv: cv2.dnn.Net) -> float:
    """Returns by how much the scores before the softmax differ at most, as a share of the largest.

    Raises:
        SystemExit: it is too much.
    """
    last = net.spec.layer[-1].bottom[0]
    layer = [spec.name for spec in net.spec.layer if last in spec.top][-1]
    expected = bare(name, net)[:-1](images).flatten(1).numpy()
    opencv.setInput(images.numpy())
    found = {
        "plan": optimize(net, keep=[last])({"data": images})[last].flatten(1).numpy(),
        "net": net({"data": images}, [last])[last].flatten(1).numpy(),
        "OpenCV": opencv.forward(layer).reshape(expected.shape),
    }
    differences = {side: np.abs(scores - expected).max() / np.abs(expected).max() for side, scores in found.items()}
    if max(differences.values()) > TOLERANCE:
        raise SystemExit(f"{name}: the scores differ from the bare modules': {differences}")
    return max(differences.values())


def sides(name: str, net: Net, images: torch.Tensor, opencv: cv2.dnn.Net) -> dict[str, Run]:
    """Returns what is timed."""
    plan, module = optimize(net), bare(name, net)
    last = bare(name, net).to(memory_format=torch.channels_last)
    images_last = images.contiguous(memory_format=torch.channels_last)
    net.channels_last()

    def by_opencv() -> np.ndarray:
        opencv.setInput(images.numpy())
        return opencv.forward()

    return {
        "plan": lambda: plan({"data": images})["prob"].numpy(),
        "net": lambda: net({"data": images})["prob"].numpy(),
        "bare": lambda: module(images).numpy(),
        "bare, channels last": lambda: last(images_last).numpy(),
        "OpenCV": by_opencv,
    }


def measure(runs: dict[str, Run], rounds: int, repeats: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Returns milliseconds by side, the least of the repeats for each round."""
    times: dict[str, list[float]] = {side: [] for side in runs}
    for number in range(rounds + 2):
        for side, run in runs.items():
            found = []
            for _ in range(repeats):
                start = clock()
                run()
                found.append(1000 * (clock() - start))
            if number >= 2:
                times[side].append(min(found))
    return times


def row(name: str, batch: int, times: dict[str, list[float]], difference: float) -> list[str]:
    medians = {side: statistics.median(found) for side, found in times.items()}
    faster = min("bare", "bare, channels last", key=lambda side: medians[side])

    def ratio(side: str) -> str:
        return f"{statistics.median(a / b for a, b in zip(times['plan'], times[side], strict=True)):.2f}"

    numbers = [f"{medians[side]:.1f}" for side in ("plan", "net", faster, "OpenCV")]
    return [name, str(batch), *numbers, ratio(faster), ratio("OpenCV"), f"{difference:.0e}"]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processor-time", action="store_true", help="instead of the time on the clock")
    args = parser.parse_args()
    clock = time.process_time if args.processor_time else time.perf_counter
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    table = Table("net", "batch", "plan, ms", "net", "bare", "OpenCV", "to bare", "to OpenCV", "difference")
    for name in args.nets.split(","):
        net = random_net(name)
        with tempfile.TemporaryDirectory() as folder:
            weights = f"{folder}/{name}.caffemodel"
            save_weights(net, weights)
            opencv = cv2.dnn.readNetFromCaffe(str(FOLDER / name / "deploy.prototxt"), weights)
        for batch in map(int, args.batches.split(",")):
            images = torch.randn(batch, *next(iter(net.inputs.values()))[1:]) * 50
            difference = check(name, net, images, opencv)
            times = measure(sides(name, net, images, opencv), args.rounds, 3 if batch == 1 else 1, clock)
            table.add_row(*row(name, batch, times, difference))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
