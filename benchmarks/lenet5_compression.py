"""How small does LeNet-5 get at about one per cent of error? Surgery by the published settings, then INQ.

    .venv/bin/python benchmarks/lenet5_compression.py --weights caffe_lenet5_original.caffemodel --mnist FOLDER

Starts from a trained LeNet-5 (431,080 parameters; the published comparison is Guo's caffemodel), prunes it by
Dynamic Network Surgery with c_rate 1/3/4/2.5 and iter_stop 14000/14000/10000/10000, then freezes it in portions
at powers of two (7 exponents, 4 bits). Every seed is reported, and the median; the logs are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from contextlib import chdir
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from demitasse import datasets, demo
from demitasse.caffe import log, schema
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.inq_to_normal import inq_to_normal
from demitasse.caffe.tools.model2inq_raw import model2inq_raw
from demitasse.caffe.training.solver import Solver
from demitasse.caffe.weights import load_weights
from demitasse.examples import copy_example

TOTAL = 431_080
SURGERY_ITERATIONS = 20_000
PORTION_ITERATIONS = 2_000
PORTIONS = (0.0, 0.5, 0.75, 0.9, 1.0)


class Result(NamedTuple):
    """What one seed gave; errors in per cent of the 10,000 test digits."""

    seed: int
    kept: int
    surgery_error: float
    surgery_seconds: float
    non_zero: int
    quantized_error: float
    quantization_seconds: float


def train(net: schema.Message, name: str, seed: int, weights: Path, **settings: object) -> Path:
    """Trains ``net`` from ``weights``; returns the caffemodel."""
    param = schema.SolverParameter(
        net_param=net, momentum=0.9, weight_decay=5e-4, snapshot_prefix=name, random_seed=seed, display=500
    )
    param.test_iter.append(100)
    param.test_interval = 2000
    param.solver_mode = schema.SolverParameter.SolverMode.Value("CPU")
    for field, value in settings.items():
        if isinstance(value, tuple):
            getattr(param, field).extend(value)
        else:
            setattr(param, field, value)
    with log.attached(logging.FileHandler(f"{name}.log", mode="w")):
        solver = Solver(param, name)
        solver.load_weights(str(weights))
        solver.solve()
    return Path(f"{name}_iter_{param.max_iter}.caffemodel")


def run(seed: int, original: Path, example: Path) -> Result:
    """Surgery and quantization with one seed, in the working directory."""
    started = time.perf_counter()
    surgery_net = example / "dns_train_val.prototxt"
    pruned = train(
        prototxt.read_net(surgery_net),
        f"surgery_{seed}",
        seed,
        original,
        base_lr=0.01,
        lr_policy="poly",  # falls like the published `inv` while surgery goes on, and then to nothing
        power=0.75,
        max_iter=SURGERY_ITERATIONS,
    )
    surgery_seconds = time.perf_counter() - started
    plain = Path(f"pruned_{seed}.caffemodel")
    deploy = example / "deploy.prototxt"
    dns_to_normal(surgery_net, pruned, deploy, plain)
    kept, surgery_error = non_zeros(plain), error(example, plain)

    started = time.perf_counter()
    quantized = quantize(seed, pruned, example)
    seconds = time.perf_counter() - started
    final = Path(f"quantized_{seed}.caffemodel")
    inq_to_normal(example / "inq_1_train_val.prototxt", quantized, deploy, final)
    return Result(seed, kept, surgery_error, surgery_seconds, non_zeros(final), error(example, final), seconds)


def quantize(seed: int, pruned: Path, example: Path) -> Path:
    """Freezes the pruned net portion by portion; returns the last caffemodel."""
    net = prototxt.read_net(example / "inq_1_train_val.prototxt")
    model = Path(f"raw_{seed}.caffemodel")
    model2inq_raw(example / "dns_train_val.prototxt", pruned, example / "inq_1_train_val.prototxt", model)
    for step, (start, end) in enumerate(pairwise(PORTIONS), 1):
        for layer in net.layer:
            for field in ("inq_convolution_param", "inq_inner_product_param"):
                if layer.HasField(field):
                    getattr(layer, field).portion[:] = [start, end]
        model = train(
            net,
            f"quantization_{seed}_{step}",
            seed,
            model,
            base_lr=0.005,
            lr_policy="poly",
            power=1,
            max_iter=PORTION_ITERATIONS if end < 1 else 1,
        )
    return model


def non_zeros(model: Path) -> int:
    """Counts the parameters of a caffemodel that are not zero."""
    return sum(int(np.count_nonzero(blob)) for layer in read_model(model) for blob in layer.blobs)


def error(example: Path, weights: Path) -> float:
    """Tests the plain net on all test digits; returns per cent."""
    net = Net.from_file(example / "train_val.prototxt", schema.TEST)
    load_weights(net, weights)
    return 100 - float(np.mean([net(net.next_batch())["accuracy"].item() for _ in range(100)])) * 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--weights", type=Path, required=True, help="caffemodel of a trained LeNet-5")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST's files; downloaded without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("build/lenet5_compression"))
    arguments = parser.parse_args()
    weights = arguments.weights.resolve()
    data = datasets.mnist(arguments.mnist)
    arguments.out.mkdir(parents=True, exist_ok=True)
    copy_example("lenet5", arguments.out)
    with chdir(arguments.out):
        demo.write_database("mnist_train_lmdb", data.train_images, data.train_labels)
        demo.write_database("mnist_test_lmdb", data.test_images, data.test_labels)
        results = []
        for seed in arguments.seeds:
            results.append(run(seed, weights, Path("lenet5")))
            print(results[-1], flush=True)
    show(results)


def show(results: list[Result]) -> None:
    """Prints one row a seed, and the medians."""
    table = Table(title=f"LeNet-5 on MNIST from {TOTAL:,} parameters; error on 10,000 test digits")
    for column in ("seed", "kept", "ratio", "error", "seconds", "INQ non-zero", "INQ error", "INQ seconds"):
        table.add_column(column, justify="right")
    columns = list(zip(*results, strict=True))
    rows = [(str(result.seed), *result[1:]) for result in results]
    rows.append(("median", *(statistics.median(column) for column in columns[1:])))
    for name, kept, before, seconds, non_zero, after, more in rows:
        table.add_row(
            name,
            f"{kept:,.0f}",
            f"{TOTAL / kept:.1f}x",
            f"{before:.2f} %",
            f"{seconds:.0f}",
            f"{non_zero:,.0f}",
            f"{after:.2f} %",
            f"{more:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
