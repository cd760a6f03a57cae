"""What do nets take in C on microcontrollers? Flash, RAM, cycles and accuracy, on simulated boards and on this machine.

    .venv/bin/python benchmarks/bench_c.py [--models lenet5=FILE.demi lenet300=FILE.demi] [--data MNIST]
        [--inputs 100] [--smallest]

FILE is what a recipe packs, such as `demitasse compress lenet5_mnist_small_99_6 --seed 3 --data MNIST --out results/3`.
Without --models it is LeNet-300-100 on scikit-learn's digits, compressed without training to 75 % zeros and 4 bits.
Accuracy is that of the twin on all test images. A board computes the first --inputs of them, and each of its integers
must be the twin's. With --smallest, weights take as little flash as they can. A board is left out if a package is
missing. On all but ATmega328P, cycles are instructions; on this machine, which compiles with gcc -O2, they are
microseconds an input. Estimated is what export --report shows.

With --dense FILE, the state_dict of the dense LeNet-5 that a recipe has trained, there is a second table, in which
other tools make C of the same net. --rivals PYTHON is the Python of an environment with tensorflow-cpu, tflite-micro,
emx-onnx-cgen and bakenn; onnx2c is in no registry, and emlearn 0.23.2 has no convolutions.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from boards import BOARDS
from c_rivals import Images, rivals
from torch import nn

import demitasse
from demitasse import datasets
from demitasse.export import CReport, c, cost_report
from demitasse.text_table import Column, TextTable
from demitasse.zoo.models import MODELS

CALIBRATION = 300
HEADERS = (
    "net",
    "accuracy of the net",
    "of the C",
    "on",
    "flash",
    "of it tables",
    "RAM",
    "stack",
    "free",
    "cycles",
    "estimated",
)


class Case(NamedTuple):
    """A net with test inputs and labels, and calibration inputs."""

    name: str
    model: nn.Module
    images: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray


def trained(given: str, folder: Path | None) -> Case:
    """Returns the net of NAME=FILE with MNIST, prepared as the file says."""
    name, _, path = given.partition("=")
    model = MODELS[name]().eval()
    demitasse.load(path, into=model)
    with demitasse.PackedFile(path) as file:
        prepared = file.preparation
    data = datasets.mnist(folder)
    images, calibration = (
        np.stack([prepared(image[0]) for image in part]) for part in (data.test_images, data.train_images[:CALIBRATION])
    )
    return Case(name, model, images, data.test_labels, calibration)


def quick() -> Case:
    """Returns a net that takes seconds to make."""
    torch.manual_seed(0)
    data = datasets.digits()
    train, test = (torch.from_numpy(part).float() / 255 for part in (data.train_images, data.test_images))
    labels = torch.from_numpy(data.train_labels)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(20):
        for batch in torch.randperm(len(train)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train[batch]), labels[batch]).backward()
            optimizer.step()
    demitasse.shrink(model.eval(), train[:300], sparsity=0.75, bits=4, grid="pow2")
    return Case("lenet300 on 8x8 digits", model, test.numpy(), data.test_labels, train[:CALIBRATION].numpy())


def rows(case: Case, count: int, folder: Path, smallest: bool) -> Iterator[Sequence[str]]:
    """Yields a row for each board, and for this machine."""
    settings = {"calibration": case.calibration, "smallest": smallest, "main": True}
    report = c(case.model, torch.from_numpy(case.images[:1]), folder / "net.c", **settings)
    assert report.twin
    blob, output = next(iter(report.twin.net.net.inputs)), next(iter(report.twin.net.net.outputs))
    integers = report.twin({blob: case.images})[output]
    with torch.no_grad():
        floats = case.model(torch.from_numpy(case.images)).numpy()
    accuracies = [f"{np.mean(found.argmax(1) == case.labels):.2%}" for found in (floats, integers)]
    tables = f"{sum(layer.flash for layer in report.written.layers):,}"
    totals = [sum(each) for each in zip(*(layer.cycles for layer in cost_report(report.written).layers), strict=True)]
    estimated = dict(zip(("Cortex-M0", "Cortex-M4", "ATmega328P"), totals, strict=True))
    for name, board in BOARDS.items():
        if missing := board.missing():
            print(f"{name} is left out: not installed: {', '.join(missing)}")
            continue
        if not board.holds(report):
            print(f"{case.name} needs more RAM than {name} has")
            continue
        found = board.run(report, {blob: case.images[:count]}, folder)
        assert np.array_equal(found.outputs, integers[:count]), f"{name} computes other integers than the twin"
        measured = (found.flash, tables, found.ram, found.stack, found.free, found.cycles, estimated.get(name, ""))
        texts = [each if isinstance(each, str) else f"{each:,}" for each in measured]
        yield case.name, *accuracies, name, *texts
    yield (
        case.name,
        *accuracies,
        "this machine",
        "",
        tables,
        "",
        "",
        "",
        f"{_microseconds(report, case, folder):.0f} us",
        "",
    )


def _microseconds(report: CReport, case: Case, folder: Path) -> float:
    """Returns the microseconds that this machine takes for an input, reading and printing included."""
    program = folder / "net"
    sources = [folder / "net.c", folder / "net_main.c"]
    subprocess.run(["gcc", "-O2", "-std=c99", *sources, "-o", program], check=True)
    images = case.images[:1000]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([program], input=images.tobytes(), stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--data", type=Path, help="folder of MNIST; default: the cache")
    parser.add_argument("--inputs", type=int, default=100, help="inputs for each board")
    parser.add_argument("--dense", type=Path, metavar="FILE", help="also compare with other tools")
    parser.add_argument("--rivals", type=Path, metavar="PYTHON", help="of the environment with the other tools")
    parser.add_argument("--smallest", action="store_true", help="weights take as little flash as they can")
    given = parser.parse_args()
    found = []
    cases = [trained(each, given.data) for each in given.models] or [quick()]
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            found += list(rows(case, given.inputs, Path(folder), given.smallest))
    columns = [Column(header, left=header in ("net", "on")) for header in HEADERS]
    print(TextTable("", columns, found).text())
    if given.dense:
        small = next(case for case in cases if case.name == "lenet5")
        images = Images(small.calibration, small.images, small.labels)
        with tempfile.TemporaryDirectory() as folder:
            measured = [each.cells() for each in rivals(given.dense, small.model, images, given.rivals, Path(folder))]
        headers = ("tool", "arithmetic", "accuracy", "flash", "RAM", "us here")
        print(TextTable("LeNet-5", [Column(each, left=each in headers[:2]) for each in headers], measured).text())


if __name__ == "__main__":
    main()
