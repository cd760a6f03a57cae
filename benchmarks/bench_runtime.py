"""How fast do sparse nets run from their packed weights, beside dense operations and other runtimes?

    .venv/bin/python benchmarks/bench_runtime.py [--nets resnet50] [--sparsity 0.8,0.9,0.95] [--batches 1,16]
        [--threads 1,2] [--rounds 9] [--deepsparse PYTHON]

Random masks of the sparsity on every weight but the first layer's. Sides: the plan from sparse weights, the dense plan,
onnxruntime, OpenVINO where it is installed, and DeepSparse where --deepsparse names the Python of an environment that
has it (it takes the net as ONNX, opset 13). All sides compute the same net in turns, so that a noisy machine hits
all alike; the table shows medians in milliseconds, and ratios to the fastest dense side. The outputs of the plans are
compared before: no entry may differ by more than 1e-4 of the largest.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from demitasse import examples
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.net import Net
from demitasse.export import export, of_net
from demitasse.graph.caffe import of_whole_net
from demitasse.runtime.dense import DensePlan
from demitasse.runtime.native.plan import NativePlan
from demitasse.runtime.plan import PASSES, Plan

FOLDER = Path(examples.__file__).parent
TOLERANCE = 1e-4
Run = Callable[[], object]

# reads the net and answers each line with the milliseconds of a run
_DEEPSPARSE = """
import sys, time
import numpy as np
from deepsparse import Engine
path, batch, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
images = np.load(sys.argv[4])
engine = Engine(path, batch_size=batch, num_cores=threads)
for _ in range(3):
    engine.run([images])
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    engine.run([images])
    print(1000 * (time.perf_counter() - start), flush=True)
"""


def sparse_net(name: str, sparsity: float) -> Net:
    """Returns the net with random weights that keep numbers at their size, most of them zero."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = Net.from_file(FOLDER / name / "deploy.prototxt")
    first = True
    with torch.no_grad():
        for layer in net.named_layers().values():
            kind = layer.spec.type
            if isinstance(layer, BatchNorm):
                layer.mean.normal_(0, 0.1, generator=generator)
                layer.variance.uniform_(0.5, 1.5, generator=generator)
                layer.factor.fill_(1)
            elif kind == "Scale":
                layer.weight.uniform_(0.2, 0.7, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
            elif kind in ("Convolution", "InnerProduct") and not first:
                kept = torch.rand(layer.weight.shape, generator=generator) >= sparsity
                layer.weight.mul_(kept).div_(max(1 - sparsity, 1e-3) ** 0.5)
            first = first and kind not in ("Convolution", "InnerProduct")
    return net


def optimized(net: Net) -> Plan:
    graph = of_whole_net(net)
    for apply in PASSES:
        graph = apply(graph)
    return Plan(graph)


def sides(net: Net, images: torch.Tensor, threads: int, folder: Path, deepsparse: str) -> dict[str, Run]:
    """Returns what is timed; each call returns its own milliseconds, or None to be timed from outside."""
    graph = optimized(net).graph
    (name,) = graph.inputs
    batch = {name: images}
    native, dense = NativePlan(graph, len(images), threads), DensePlan(graph)
    expected, found = dense(batch), native(batch)
    for key, value in expected.items():
        difference = float((found[key] - value).abs().max() / value.abs().max())
        if difference > TOLERANCE:
            raise SystemExit(f"{key}: the results differ by {difference:.1e} of the largest")
    path = folder / "net.onnx"
    export(of_net(net).fixed(len(images)), path, check=False)
    runs: dict[str, Run] = {"sparse": lambda: native(batch), "dense plan": lambda: dense(batch)}
    runs |= {"onnxruntime": onnxruntime_run(path, images.numpy(), threads)}
    if find_spec("openvino"):
        runs["OpenVINO"] = openvino_run(path, images.numpy(), threads)
    if deepsparse:
        runs["DeepSparse"] = deepsparse_run(deepsparse, path, images.numpy(), threads, folder)
    return runs


def onnxruntime_run(path: Path, images: np.ndarray, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    fed = {session.get_inputs()[0].name: images}
    return lambda: session.run(None, fed)


def openvino_run(path: Path, images: np.ndarray, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    return lambda: request.infer([images])


def deepsparse_run(python: str, path: Path, images: np.ndarray, threads: int, folder: Path) -> Run:
    import onnx
    from onnx import version_converter

    old = folder / "net13.onnx"
    onnx.save(version_converter.convert_version(onnx.load(path), 13), old)
    np.save(folder / "images.npy", images)
    arguments = [python, "-c", _DEEPSPARSE, str(old), str(len(images)), str(threads), str(folder / "images.npy")]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    for line in stdout:
        if line.strip() == "ready":
            break

    def run() -> float:
        stdin.write("\n")
        stdin.flush()
        return float(stdout.readline())

    return run


def measure(runs: dict[str, Run], rounds: int, repeats: int) -> dict[str, float]:
    """Returns the median milliseconds by side, of the least of the repeats in each round."""
    times: dict[str, list[float]] = {side: [] for side in runs}
    for number in range(rounds + 2):
        for side, run in runs.items():
            found = []
            for _ in range(repeats):
                start = time.perf_counter()
                own = run()
                found.append(own if isinstance(own, float) else 1000 * (time.perf_counter() - start))
            if number >= 2:
                times[side].append(min(found))
    return {side: statistics.median(found) for side, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", default="resnet50")
    parser.add_argument("--sparsity", default="0.8,0.9,0.95")
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--deepsparse", default="", help="the Python of an environment with DeepSparse")
    args = parser.parse_args()
    names = ["sparse", "dense plan", "onnxruntime", "OpenVINO", "DeepSparse"]
    table = Table(
        "net", "sparsity", "batch", "threads", *(f"{name}, ms" for name in names), "to dense", "to DeepSparse"
    )
    for name in args.nets.split(","):
        for sparsity in map(float, args.sparsity.split(",")):
            net = sparse_net(name, sparsity)
            for batch in map(int, args.batches.split(",")):
                images = torch.randn(batch, *next(iter(net.inputs.values()))[1:])
                for threads in map(int, args.threads.split(",")):
                    torch.set_num_threads(threads)
                    with tempfile.TemporaryDirectory() as folder:
                        runs = sides(net, images, threads, Path(folder), args.deepsparse)
                        times = measure(runs, args.rounds, 3 if batch == 1 else 1)
                    dense = min(time for side, time in times.items() if side not in ("sparse", "DeepSparse"))
                    cells = [f"{times[side]:.1f}" if side in times else "" for side in names]
                    other = f"{times['sparse'] / times['DeepSparse']:.2f}" if "DeepSparse" in times else ""
                    ratio = f"{times['sparse'] / dense:.2f}"
                    table.add_row(name, f"{sparsity:.0%}", str(batch), str(threads), *cells, ratio, other)
                    print(name, sparsity, batch, threads, times, file=sys.stderr, flush=True)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
