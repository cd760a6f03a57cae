"""How fast do sparse nets run from their packed weights, beside dense operations and other runtimes?

    .venv/bin/python benchmarks/bench_runtime.py [--cases resnet50,mobilenet_v1,alexnet,alexnet_uniform]
        [--sparsity 0,0.8,0.9,0.95] [--batches 1,16] [--threads 1,2] [--rounds 9]
        [--openvino PYTHON] [--deepsparse PYTHON]
    .venv/bin/python benchmarks/bench_runtime.py --threads 1 --processor-time   # on a machine that others use

Random masks: in ResNet-50 on every weight but the first layer's, in MobileNet on the convolutions of 1x1, in AlexNet by
layer as after surgery, or the same on all. Sides: the plan as it chooses itself, the dense plan, onnxruntime, and
OpenVINO and DeepSparse 1.8.0 where options name the Python of an environment that has them. All sides compute the same
net in turns. Before, their scores are compared: no entry may differ by more than 1e-4 of the largest. The peaks of the
machine, measured, are below the table; the last columns are the least time at these peaks: that of the multiply-adds
with weights that are not 0, if all values are in registers, and if each takes one from the first cache; and that of
reading weights and images from memory.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from other_runtimes import child_run, onnxruntime_run, write_onnx
from roofline import Peak, peak
from sparse_nets import DNS_ALEXNET, Shares, all_but_first, by_layer, everywhere, pointwise, sparse_net
from turns import ResultTable, Run, Turns, parse, take_turns

from demitasse.caffe.net import Net
from demitasse.runtime import Plan, optimize, report

TOLERANCE = 1e-4
OURS, DENSE, ORT, OPENVINO, DEEPSPARSE = "ours", "dense plan", "onnxruntime", "OpenVINO", "DeepSparse"


class Case(NamedTuple):
    """A net, its shares by sparsity, the sparsities, and the sizes of batches."""

    net: str
    shares: Callable[[float], Shares]
    sparsity: str
    batches: str = "1"


CASES = {
    "resnet50": Case("resnet50", all_but_first, "0,0.8,0.9,0.95", "1,16"),
    "mobilenet_v1": Case("mobilenet_v1", pointwise, "0.9"),
    "alexnet": Case("alexnet", lambda _: by_layer(DNS_ALEXNET), "0.943"),
    "alexnet_uniform": Case("alexnet", everywhere, "0.943"),
}


def sides(
    net: Net, plan: Plan, images: torch.Tensor, args: argparse.Namespace, threads: int, stack: ExitStack
) -> dict[str, Run]:
    """Returns what is timed, after all results are compared with the dense plan's.

    Raises:
        SystemExit: one differs by too much.
    """
    (name,) = plan.graph.inputs
    batch, array = {name: images}, images.numpy()
    (expected,) = (value.numpy() for value in plan.dense(batch).values())
    (found,) = (value.numpy() for value in plan(batch).values())
    path = Path(stack.enter_context(tempfile.TemporaryDirectory()), "net.onnx")
    write_onnx(net, len(images), path)
    others = {ORT: onnxruntime_run(path, array, threads)}
    for side, python in ((OPENVINO, args.openvino), (DEEPSPARSE, args.deepsparse)):
        if python:
            child = child_run(side.lower(), python, path, array, threads, args.clock.__name__)
            others[side] = stack.enter_context(child)
    for side, result in {OURS: found, **{side: result for side, (_, result) in others.items()}}.items():
        difference = float(np.abs(result.reshape(expected.shape) - expected).max() / np.abs(expected).max())
        if not difference <= TOLERANCE:
            raise SystemExit(f"{side}: the results differ by {difference:.1e} of the largest")
    return {
        OURS: lambda: plan(batch),
        DENSE: lambda: plan.dense(batch),
        **{side: run for side, (run, _) in others.items()},
    }


def bounds(plan: Plan, images: torch.Tensor, machine: Peak) -> list[str]:
    """Returns the least milliseconds of the multiply-adds, and of the weights' and images' way from memory."""
    count, layers = 0, report(plan, len(images)).layers
    for step, layer in zip(plan.graph.steps, layers, strict=True):
        if step.kind in ("Convolution", "InnerProduct"):
            count += len(images) * math.prod(plan.graph.values[step.outputs[0]].shape[2:]) * layer.kept
    held = sum(layer.nbytes for layer in layers)
    return [f"{each:.3g}" for each in machine.least(count, held + images.nbytes)]


def rows(
    name: str, args: argparse.Namespace, peaks: dict[int, Peak]
) -> Iterator[tuple[list[object], Turns, list[str]]]:
    """Yields the rows of a case."""
    case = CASES[name]
    for sparsity in map(float, (args.sparsity or case.sparsity).split(",")):
        net = sparse_net(case.net, case.shares(sparsity))
        plan = optimize(net)
        for size in map(int, (args.batches or case.batches).split(",")):
            images = torch.randn(size, *next(iter(net.inputs.values()))[1:])
            for threads, machine in peaks.items():
                torch.set_num_threads(threads)
                with ExitStack() as stack:
                    runs = sides(net, plan, images, args, threads, stack)
                    turns = take_turns(runs, args.rounds, args.clock)
                yield [name, f"{sparsity:.1%}", size, threads], turns, bounds(plan, images, machine)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--sparsity", help="instead of those of the cases")
    parser.add_argument("--batches", help="instead of those of the cases")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--openvino", help="the Python of an environment with OpenVINO")
    parser.add_argument("--deepsparse", help="the Python of an environment with DeepSparse")
    args = parse(parser)
    peaks = {threads: peak(threads, args.clock) for threads in args.threads}
    table = ResultTable(
        ("net", "zeros", "batch", "threads"),
        (OURS, DENSE, ORT, OPENVINO, DEEPSPARSE),
        {"to fastest dense": (DENSE, ORT, OPENVINO), "to DeepSparse": (DEEPSPARSE,)},
        ("in registers, ms", "from cache, ms", "memory, ms"),
    )
    for name in args.cases.split(","):
        for row in rows(name, args, peaks):
            table.add(*row)
    for threads, machine in peaks.items():
        print(f"\n{threads} thread{'s' * (threads > 1)} at most: {machine}")


if __name__ == "__main__":
    main()
