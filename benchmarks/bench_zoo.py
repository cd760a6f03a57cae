"""Is any net slower with a plan that chooses than with the dense plan?

    .venv/bin/python benchmarks/bench_zoo.py [--nets lenet5,...] [--sparsity 0,0.5,0.7] [--batches 1]
        [--threads 1] [--rounds 9] [--processor-time]

All nets of the examples and all models of the zoo, with random masks on every weight of convolutions and inner
products. A ratio above 1.05 is marked: there the plan loses time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import torch
from sparse_nets import FOLDER, everywhere, sparse_net
from torch import Tensor, nn
from turns import ResultTable, parse, take_turns

from demitasse.runtime import Plan, optimize
from demitasse.zoo.models import MODELS

OURS, DENSE = "the plan", "dense plan"
MOST = 1.05
# models of the zoo -> an example of their input; they are built for MNIST, CIFAR-10, ImageNet, and text
_EXAMPLES: dict[str, Callable[[], Tensor]] = {
    **dict.fromkeys(("lenet5", "lenet300"), lambda: torch.randn(1, 1, 28, 28)),
    **dict.fromkeys(("resnet20", "resnet32", "resnet56"), lambda: torch.randn(1, 3, 32, 32)),
    "gpt": lambda: torch.randint(0, 65, (1, 64)),
}


def caffe_plan(name: str, sparsity: float) -> tuple[Plan, dict[str, Tensor]]:
    net = sparse_net(name, everywhere(sparsity))
    # words and marks are 1; images and features are random
    inputs = {each: torch.randn(shape) if len(shape) == 4 else torch.ones(shape) for each, shape in net.inputs.items()}
    return optimize(net), inputs


def module_plan(name: str, sparsity: float) -> tuple[Plan, dict[str, Tensor]]:
    torch.manual_seed(0)
    module = MODELS[name]().eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                part.weight.mul_(torch.rand_like(part.weight) >= sparsity)
    example = _EXAMPLES.get(name, lambda: torch.randn(1, 3, 224, 224))()
    plan = optimize(module, example).plan
    return plan, dict.fromkeys(plan.graph.inputs, example)


NETS = {path.parent.name: caffe_plan for path in sorted(FOLDER.glob("*/deploy.prototxt"))}
ALL = {**{f"{name}.prototxt": (name, make) for name, make in NETS.items()}, **{n: (n, module_plan) for n in MODELS}}


def cases(args: argparse.Namespace) -> Iterator[tuple[list[object], Plan, dict[str, Tensor]]]:
    for label in args.nets.split(","):
        name, make = ALL[label]
        for sparsity in map(float, args.sparsity.split(",")):
            plan, inputs = make(name, sparsity)
            for batch in map(int, args.batches.split(",")):
                images = {each: torch.cat(batch * [x[:1]]) for each, x in inputs.items()}
                yield [label, f"{sparsity:.0%}", batch], plan, images


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nets", default=",".join(ALL))
    parser.add_argument("--sparsity", default="0,0.5,0.7")
    parser.add_argument("--batches", default="1")
    parser.add_argument("--threads", default="1")
    args = parse(parser)
    table = ResultTable(("net", "zeros", "batch", "threads"), (OURS, DENSE), {"ratio": (DENSE,)}, ("",))
    for labels, plan, images in cases(args):
        runs = {OURS: partial(plan, images), DENSE: partial(plan.dense, images)}
        for threads in args.threads:
            torch.set_num_threads(threads)
            turns = take_turns(runs, args.rounds, args.clock)
            slower = turns.ratio(OURS, (DENSE,)) > MOST
            table.add([*labels, threads], turns, ["slower" if slower else ""])


if __name__ == "__main__":
    main()
