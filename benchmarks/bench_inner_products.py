"""How fast are inner products from packed weights, alone and in LeNet-300-100, beside PyTorch's and SciPy's?

    .venv/bin/python benchmarks/bench_inner_products.py [--only sparse,powers,lenet300] [--threads 1] [--rounds 9]
        [--processor-time]

Sparse: 95 % of the weights are 0; inputs as they come, and with half of them 0, as after a ReLU. Powers: all weights
are powers of two of 4 bits, none is 0; PyTorch computes with float32 and with bfloat16. LeNet-300-100: 95 % of the
weights are 0, a digit at a time; the last column is what a call takes above its kernels. All sides take turns, and
their results are compared before: no entry may differ by more than 1e-4 of the largest, in bfloat16 by 2e-2. SciPy has
no threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional
from turns import ResultTable, Run, Turns, parse, take_turns

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.runtime import Plan, optimize
from demitasse.runtime.native.lowering import lowered

OURS, DENSE, BFLOAT16, CSR, SCIPY = "ours", "torch", "torch, bfloat16", "torch CSR", "SciPy CSR"
TOLERANCE = {BFLOAT16: 2e-2}
SHAPES = ((4096, 9216), (4096, 4096))
Clock = Callable[[], float]
Layers = Sequence[tuple[Tensor, Tensor]]  # weights and biases, with a ReLU between


class Row(NamedTuple):
    """A measurement: what tells it apart, weights, inputs, sides beside ours, and whether a call is looked into."""

    labels: list[object]
    layers: Layers
    inputs: Tensor
    sides: Sequence[str]
    inside: bool = False


def plan_of(layers: Layers) -> Plan:
    """Returns the plan of a Caffe net with these layers."""
    shape = f"shape {{ dim: 1 dim: {layers[0][0].shape[1]} }}"
    text = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ {shape} }} }}'
    for number, (weight, _) in enumerate(layers):
        bottom = f"ip{number - 1}" if number else "x"
        if number:
            text += f'layer {{ name: "relu{number}" type: "ReLU" bottom: "{bottom}" top: "{bottom}" }}'
        settings = f"inner_product_param {{ num_output: {len(weight)} }}"
        text += f'layer {{ name: "ip{number}" type: "InnerProduct" bottom: "{bottom}" top: "ip{number}" {settings} }}'
    net = Net(prototxt.parse(text, schema.NetParameter(), "inner products"))
    with torch.no_grad():
        for number, (weight, bias) in enumerate(layers):
            net.layer(f"ip{number}").weight.copy_(weight)
            net.layer(f"ip{number}").bias.copy_(bias)
    return optimize(net)


def torch_run(layers: Layers, inputs: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        x = inputs
        for number, (weight, bias) in enumerate(layers):
            x = functional.linear(functional.relu(x) if number else x, weight, bias)
        return x

    return run


def csr_run(layers: Layers, inputs: Tensor) -> Callable[[], Tensor]:
    rows = [(weight.to_sparse_csr(), bias[:, None]) for weight, bias in layers]

    def run() -> Tensor:
        x = inputs.T
        for number, (weight, bias) in enumerate(rows):
            x = torch.addmm(bias, weight, functional.relu(x) if number else x)
        return x.T

    return run


def scipy_run(layers: Layers, inputs: Tensor) -> Callable[[], np.ndarray]:
    rows = [(scipy.sparse.csr_array(weight.numpy()), bias.numpy()[:, None]) for weight, bias in layers]
    first = np.ascontiguousarray(inputs.numpy().T)

    def run() -> np.ndarray:
        x = first
        for number, (weight, bias) in enumerate(rows):
            x = weight @ (np.maximum(x, 0) if number else x) + bias
        return x.T

    return run


def runs(row: Row, plan: Plan) -> dict[str, Run]:
    """Returns what is timed, after all results are compared with PyTorch's dense ones.

    Raises:
        SystemExit: one differs by too much.
    """
    batch, last = {"x": row.inputs}, f"ip{len(row.layers) - 1}"
    made: dict[str, Callable[[], object]] = {OURS: lambda: plan(batch)[last]}
    for side in row.sides:
        if side == BFLOAT16:
            halves = [(weight.bfloat16(), bias.bfloat16()) for weight, bias in row.layers]
            made[side] = torch_run(halves, row.inputs.bfloat16())
        else:
            made[side] = {DENSE: torch_run, CSR: csr_run, SCIPY: scipy_run}[side](row.layers, row.inputs)
    expected = torch_run(row.layers, row.inputs)()
    for side, run in made.items():
        difference = float((torch.as_tensor(run()).float() - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE.get(side, 1e-4):
            raise SystemExit(f"{side}: the results differ by {difference:.1e} of the largest")
    return dict(made)


def weights(outputs: int, inputs: int, share: float) -> tuple[Tensor, Tensor]:
    weight = torch.randn(outputs, inputs) * (2 / (inputs * share)) ** 0.5
    return weight * (torch.rand(outputs, inputs) < share), torch.randn(outputs) / 10


def powers(outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
    signs = torch.randint(0, 2, (outputs, inputs)) * 2.0 - 1
    return signs * torch.exp2(-torch.randint(1, 8, (outputs, inputs)).float()), torch.randn(outputs) / 10


def sparse_rows() -> Iterator[Row]:
    for outputs, inputs in SHAPES:
        layers = [weights(outputs, inputs, 0.05)]
        for batch in (1, 16):
            for zeros in (0.0, 0.5):
                x = torch.randn(batch, inputs) * (torch.rand(batch, inputs) >= zeros)
                labels = [f"{outputs} x {inputs}, 95 %", batch, f"{zeros:.0%}"]
                yield Row(labels, layers, x, (DENSE, CSR, SCIPY))


def power_rows() -> Iterator[Row]:
    layers = [powers(4096, 4096)]
    for batch in (1, 2, 4, 8):
        yield Row(["4096 x 4096, 4 bits", batch, "0%"], layers, torch.randn(batch, 4096), (DENSE, BFLOAT16))


def lenet300_rows() -> Iterator[Row]:
    layers = [weights(300, 784, 0.05), weights(100, 300, 0.05), weights(10, 100, 0.05)]
    digit = torch.rand(1, 784) * (torch.rand(1, 784) >= 0.8)  # as much of a digit of MNIST is background
    yield Row(["LeNet-300-100, 95 %", 1, "80%"], layers, digit, (DENSE, CSR, SCIPY), True)


def above_kernels(row: Row, plan: Plan, rounds: int, clock: Clock) -> str:
    """Returns the microseconds that a call takes more than its kernels; nothing with several threads."""
    if torch.get_num_threads() > 1 or plan.native(len(row.inputs), 1) is None:
        return ""
    made, batch = lowered(plan.graph, len(row.inputs), 1), {"x": row.inputs}
    program = made.program
    made.inputs["x"][...] = row.inputs

    def kernels() -> None:
        program._counter[0] = 0
        program._run(program._block, 0, 1)

    found = take_turns({"call": lambda: plan(batch), "kernels": kernels}, rounds, clock)
    return f"{1000 * (found.median('call') - found.median('kernels')):.1f}"


def measured(row: Row, rounds: int, clock: Clock) -> tuple[Turns, list[str]]:
    plan = plan_of(row.layers)
    turns = take_turns(runs(row, plan), rounds, clock)
    return turns, [above_kernels(row, plan, rounds, clock) if row.inside else ""]


@torch.no_grad()
def main() -> None:
    kinds = {"sparse": sparse_rows, "powers": power_rows, "lenet300": lenet300_rows}
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(kinds))
    parser.add_argument("--threads", default="1")
    args = parse(parser)
    torch.manual_seed(0)
    table = ResultTable(
        ("weights", "batch", "inputs at 0", "threads"),
        (OURS, DENSE, BFLOAT16, CSR, SCIPY),
        {f"to {side}": (side,) for side in (DENSE, BFLOAT16, CSR, SCIPY)},
        ("call above kernels, us",),
    )
    for kind in args.only.split(","):
        for row in kinds[kind]():
            for threads in args.threads:
                torch.set_num_threads(threads)
                table.add([*row.labels, threads], *measured(row, args.rounds, args.clock))


if __name__ == "__main__":
    main()
