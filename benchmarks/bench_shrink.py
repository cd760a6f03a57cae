"""What do nets lose when they are compressed without training? ``demitasse.shrink`` beside the usual methods.

    python benchmarks/bench_shrink.py resnet MODEL.th CIFAR10.zip
    python benchmarks/bench_shrink.py squeezenet NET_FILE FOLDER --nncodec PYTHON --qp -28 -24 -20
    python benchmarks/bench_shrink.py efficientnet PACKAGES FOLDER --nncodec PYTHON --qp -32 -28 -24

The first compresses a ResNet of CIFAR-10 (He et al. 2016) of any depth with 1,024 training images and tests it on all
test images; the others use 200 of the photographs of squeezenet_imagenet.py and test on the rest. shrink_nets.py says
what the files are. No labels are used to compress. All see the same images.

``--rows`` are targets of bits and zeros, such as ``4``, ``50%`` and ``50%+4``, at which the methods of
shrink_baselines.py are measured, too; ``--bytes`` are sizes of whole files. ``--nncodec`` is the python of an
environment with NNCodec 2.1.3, run at ``--qp``; ``--torchao`` a folder with torchao 0.18.0. ``--record`` keeps every
result as a line of JSON, ``--picture`` draws the files of the record.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import shrink_nets
import torch
from rich.console import Console
from rich.table import Table
from shrink_baselines import baseline, compress_by
from shrink_peers import demi, nncodec, torchao_int4
from shrink_picture import draw
from torch import Tensor, nn

import demitasse
from demitasse.methods.one_shot.layer import GridKind
from demitasse.shrinking.batches import batches_of

# examples to compress with, rows, sizes
DEFAULTS: dict[str, tuple[int, list[str], list[int]]] = {
    "resnet": (1024, ["5", "4", "3", "50%", "50%+4"], []),
    "squeezenet": (200, ["5", "4"], [360_000, 340_000, 300_000, 250_000, 200_000]),
    "efficientnet": (200, ["5", "4"], []),
}
NETS = {
    "resnet": shrink_nets.resnet,
    "squeezenet": shrink_nets.squeezenet,
    "efficientnet": shrink_nets.efficientnet,
}
Compress = Callable[[nn.Module], int | None]


@dataclass(frozen=True)
class Result:
    """A compressed net.

    Attributes:
        net: title of the net.
        target: what was asked for, in words.
        grid: the grid, or nothing.
        method: the method.
        bytes: of the whole file.
        top1: share of right first guesses in percent.
        top5: share of tests whose label is among the first five guesses, in percent.
        same: share of first guesses that are the dense net's, in percent.
        seconds: processor time of the compression.
    """

    net: str
    target: str
    grid: str
    method: str
    bytes: int
    top1: float
    top5: float
    same: float
    seconds: float


class Bench:
    """A net, and what was measured of it."""

    def __init__(self, net: shrink_nets.ImageNet, record: Path | None) -> None:
        self.net, self.record = net, record
        model = net.fresh()
        self.dense = self._guesses(model)
        self.results: list[Result] = []
        self._add(Result(net.title, "", "", "dense", demi(model), *self._rates(self.dense), 0))

    def measure(self, target: str, grid: str, method: str, compress: Compress) -> None:
        """Compresses a fresh model and tests it; ``compress`` returns the bytes, or None for those of its ``.demi``."""
        model, begin = self.net.fresh(), time.process_time()
        size = compress(model)
        seconds = time.process_time() - begin
        rates = self._rates(self._guesses(model))
        self._add(Result(self.net.title, target, grid, method, size or demi(model), *rates, seconds))

    def _add(self, result: Result) -> None:
        self.results.append(result)
        print(*asdict(result).values(), flush=True)
        if self.record:
            with self.record.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")

    @torch.inference_mode()
    def _guesses(self, model: nn.Module) -> Tensor:
        """Returns the five best classes of each test, (n, 5)."""
        parts = [self.net.forward(model, part) for part in batches_of(self.net.tests, len(self.net.tests))]
        return torch.cat([part.topk(5).indices for part in parts if isinstance(part, Tensor)])

    def _rates(self, found: Tensor) -> tuple[float, float, float]:
        right = found == self.net.labels.unsqueeze(1)
        same = found[:, 0] == self.dense[:, 0]
        first, five, equal = (100 * float(one.float().mean()) for one in (right[:, 0], right.any(1), same))
        return first, five, equal

    def table(self) -> Table:
        dense = self.results[0]
        table = Table(
            title=f"{self.net.title}, {len(self.net.calibration):,} images; {torch.get_num_threads()} threads"
        )
        for name in ("target", "grid", "method"):
            table.add_column(name)
        for name in ("bytes", "top-1", "loss", "top-5", "loss", "same guess", "seconds"):
            table.add_column(name, justify="right")
        for one in self.results:
            rates = (one.top1, dense.top1 - one.top1, one.top5, dense.top5 - one.top5, one.same)
            shown = (f"{rate:.2f}" for rate in rates)
            table.add_row(one.target, one.grid, one.method, f"{one.bytes:,}", *shown, f"{one.seconds:.0f}")
        return table


def methods(net: shrink_nets.ImageNet, row: str, grid: GridKind) -> Iterator[tuple[str, Compress]]:
    """Yields the methods of a row, such as ``50%+4``."""
    parts = row.split("+")
    sparsity = next((float(part.rstrip("%")) / 100 for part in parts if part.endswith("%")), 0.0)
    bits = next((int(part) for part in parts if not part.endswith("%")), None)
    inputs = batches_of(net.calibration, len(net.calibration))
    for name in ("magnitude", "Wanda", "SparseGPT") if sparsity else ("rounding", "GPTQ"):
        treat = baseline(name, bits, sparsity, grid)
        yield name, lambda model, treat=treat: compress_by(model, inputs, net.forward, treat)

    def ours(model: nn.Module) -> None:
        chosen: dict[Literal["grid"], GridKind] = {"grid": grid} if bits else {}
        demitasse.shrink(model, net.calibration, bits=bits, sparsity=sparsity or None, forward=net.forward, **chosen)

    yield "demitasse.shrink", ours


def fitted(net: shrink_nets.ImageNet, most: int, grid: GridKind) -> Compress:
    """Returns what compresses a model to a number of bytes."""

    def compress(model: nn.Module) -> int | None:
        return demitasse.shrink(model, net.calibration, max_bytes=most, grid=grid, forward=net.forward).bytes

    return compress


def results_in(record: Path) -> list[Result]:
    """Returns the results of a record."""
    return [Result(**json.loads(line)) for line in record.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("net", choices=tuple(NETS), nargs="?")
    parser.add_argument("files", type=Path, nargs="*", help="model and data")
    parser.add_argument("--rows", nargs="*")
    parser.add_argument("--bytes", type=int, nargs="*")
    parser.add_argument("--grids", nargs="+", choices=("uniform", "pow2"), default=["uniform", "pow2"])
    parser.add_argument("--nncodec", type=Path)
    parser.add_argument("--qp", type=int, nargs="+", default=[-32, -28, -24])
    parser.add_argument("--torchao", type=Path)
    parser.add_argument("--examples", type=int)
    parser.add_argument("--tests", type=int, help="the most tests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    if arguments.picture and arguments.record:
        draw(results_in(arguments.record), arguments.picture)
        return
    if len(arguments.files) != 2:
        print("bench_shrink.py: no model and data given, nothing to measure")
        return
    examples, rows, sizes = DEFAULTS[arguments.net]
    net = NETS[arguments.net](*arguments.files, arguments.examples or examples, arguments.seed)
    if arguments.tests:
        net = net._replace(tests=net.tests[: arguments.tests], labels=net.labels[: arguments.tests])
    bench = Bench(net, arguments.record)
    for row in rows if arguments.rows is None else arguments.rows:
        for grid in arguments.grids:
            for name, compress in methods(net, row, grid):
                bench.measure(row, grid, name, compress)
    for most in sizes if arguments.bytes is None else arguments.bytes:
        for grid in arguments.grids:
            bench.measure(f"{most:,} bytes", grid, "demitasse.shrink", fitted(net, most, grid))
    for qp in arguments.qp if arguments.nncodec else ():
        bench.measure(f"qp {qp}", "", "NNCodec", lambda model, qp=qp: nncodec(model, arguments.nncodec, qp))
    if arguments.torchao:
        bench.measure("int4", "", "torchao", lambda model: torchao_int4(model, arguments.torchao))
    Console().print(bench.table())


if __name__ == "__main__":
    main()
