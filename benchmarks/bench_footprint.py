"""How much memory does a .demi file take when it is run, and how soon is the answer there? Whole processes.

    .venv/bin/python benchmarks/bench_footprint.py [--nets lenet5,alexnet,resnet50] [--threads 1] [--rounds 9]

Nets with the kept shares that surgery leaves, as powers of two of 4 bits. `demitasse run` of an array beside
`import torch` alone, in turns. The first run is that of a copy of the package in which nothing is compiled yet. Growth
is that of a process which has run LeNet-5 before, at its peak while the net is loaded and run: from the file, and from
the cache of packed weights. The last column is the memory of the weights, in bytes for each that is not zero.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sparse_nets import DNS_ALEXNET, FOLDER, Shares, all_but_first, by_layer, sparse_net, to_powers
from turns import ResultTable, take_turns

import demitasse
from demitasse.caffe.weights import save_weights
from demitasse.formats import pack
from demitasse.runtime import optimize, report

RUN, TORCH = "demitasse run", "import torch"
# LeNet-5 as in Guo et al. 2016, table 3
NETS: dict[str, Shares] = {
    "lenet5": by_layer({"conv1": 0.142, "conv2": 0.031, "ip1": 0.007, "ip2": 0.043}),
    "alexnet": by_layer(DNS_ALEXNET),
    "resnet50": all_but_first(0.9),
}
# runs one net, then another, and prints the bytes by which the process grows at its peak meanwhile
_GROWTH = """
import re, sys
from pathlib import Path
from demitasse.cli import main

def run(model, array):
    try:
        main(["run", model, array])
    except SystemExit as end:
        if end.code:
            raise

def status(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))

run(*sys.argv[1:3])
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
run(*sys.argv[3:5])
print(status("VmHWM") - before)
"""


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes a net and an image; returns the .demi file and the array."""
    net = sparse_net(name, NETS[name])
    to_powers(net)
    weights, model, image = (folder / f"{name}{suffix}" for suffix in (".caffemodel", ".demi", ".npy"))
    save_weights(net, weights)
    pack(weights, model, net=FOLDER / name / "deploy.prototxt", definition=True)
    np.save(image, torch.rand(1, *next(iter(net.inputs.values()))[1:]).numpy())
    return model, image


def installed(folder: Path, threads: int) -> dict[str, str]:
    """Copies the package without what it has compiled; returns the environment in which it is used."""
    package = Path(demitasse.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(folder, quiet=2)
    places = {"PYTHONPATH": str(folder), "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    environment = {**os.environ, **places, "OMP_NUM_THREADS": str(threads)}
    environment.pop("NUMBA_CACHE_DIR", None)
    return environment


def process(command: list[object], environment: Mapping[str, str]) -> str:
    """Runs Python; returns what it prints."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, env=environment, cwd=environment["HOME"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def notes(
    model: Path, run: list[object], small: tuple[Path, Path], environment: Mapping[str, str], first: float
) -> list[str]:
    """Returns seconds of the first run, growth, megabytes of dense weights, and bytes of a weight that is kept."""
    places = {**environment, "XDG_CACHE_HOME": str(model.parent / f"{model.stem}_cache")}  # kernels are in the package
    grown = [int(process(["-c", _GROWTH, *small, *run[-2:]], each).splitlines()[-1]) for each in (places, environment)]
    layers = [layer for layer in report(optimize(model)).layers if layer.total]
    held, kept, total = (sum(getattr(layer, name) for layer in layers) for name in ("nbytes", "kept", "total"))
    return [f"{first:.1f}", *(f"{each / 1e6:.1f}" for each in grown), f"{4 * total / 1e6:.0f}", f"{held / kept:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    headings = ("first run, s", "growth, MB", "from the cache, MB", "dense weights, MB", "bytes a weight")
    table = ResultTable(("net",), (RUN, TORCH), {"ratio": (TORCH,)}, headings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = write("lenet5", folder)
        for number, net in enumerate(args.nets.split(",")):
            model, image = write(net, folder)
            environment = installed(folder / str(number), args.threads)
            command: list[object] = ["-m", "demitasse", "run", "--threads", args.threads, model, image]
            start = time.perf_counter()
            process(command, environment)
            first = time.perf_counter() - start
            process(["-m", "demitasse", "run", *small], environment)
            runs = {
                RUN: partial(process, command, environment),
                TORCH: partial(process, ["-c", "import torch"], environment),
            }
            turns = take_turns(runs, args.rounds)
            table.add([net], turns, notes(model, command, small, environment, first))


if __name__ == "__main__":
    main()
