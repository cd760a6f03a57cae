"""Every operation with native kernels computes what PyTorch computes in float64, on every machine of this kind."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from demitasse.graph.graph import Value
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import LOWER
from demitasse.runtime.native.plan import NativePlan, NotNative
from tests.contract.native_cases import CASES, Case, of_text
from tests.runtime.native.nets import layer
from tests.runtime.native.test_plan import MACHINES

each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
each_kind = pytest.mark.parametrize("kind", list(LOWER))


def output(plan: NativePlan, case: Case, x: Tensor) -> Tensor:
    return list(plan({next(iter(case.graph.inputs)): x}).values())[-1]


def agree(case: Case, batch: int, threads: int, machine: Machine) -> None:
    x = torch.randn(batch, *case.shape, generator=torch.Generator().manual_seed(100 + batch))
    with torch.no_grad():
        expected = case.reference(x.double())
    found = output(NativePlan(case.graph, batch, threads, machine), case, x)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * (float(expected.abs().max()) + 1e-30)


def test_an_operation_has_a_case() -> None:
    assert set(CASES) == set(LOWER), "write a case for it in tests/contract/native_cases.py"


@each_machine
@each_kind
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_drawn_nets(kind: str, machine: Machine, data: st.DataObject) -> None:
    case = CASES[kind](data.draw)
    assert kind in {step.kind for step in case.graph.steps}
    agree(case, data.draw(st.sampled_from([1, 2, 3, 5, 8, 9, 17])), data.draw(st.integers(1, 3)), machine)


@each_machine
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
def test_a_grid_of_convolutions(kernel: int, machine: Machine) -> None:
    densities = itertools.cycle([0.0, 0.02, 0.1, 0.5, 0.9, 1.0])
    batches = itertools.cycle([1, 2, 7])
    for stride, pad, dilation, group in itertools.product((1, 2, 3), (0, 1, 3), (1, 2), (1, 2, 6)):
        options = f"kernel_size: {kernel} stride: {stride} pad: {pad} dilation: {dilation} group: {group}"
        text = layer("Convolution", "data", "a", f"convolution_param {{ num_output: 12 {options} }}")
        agree(of_text(text, (6, 14, 13), next(densities)), next(batches), 1, machine)


@each_machine
@pytest.mark.parametrize("powers", [False, True])
def test_a_grid_of_inner_products(powers: bool, machine: Machine) -> None:
    densities = itertools.cycle([0.0, 0.02, 0.1, 0.5, 0.9, 1.0])
    for inputs, outputs, batch in itertools.product((1, 3, 127, 128, 300), (1, 4, 5, 130), (1, 2, 5, 6, 8, 9, 33)):
        text = layer("InnerProduct", "data", "a", f"inner_product_param {{ num_output: {outputs} }}")
        agree(of_text(text, (inputs, 1, 1), next(densities), powers), batch, 2, machine)


def test_a_value_without_entries_is_refused() -> None:
    case = CASES["GlobalMean"](lambda strategy: 1)
    case.graph.values[0] = Value("x", (1, 0, 4, 4))
    with pytest.raises(NotNative, match=r"value 'x' of shape \(2, 0, 4, 4\): it has no entries"):
        NativePlan(case.graph, 2, 1)


@each_kind
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_batch_without_images(kind: str, data: st.DataObject) -> None:
    case = CASES[kind](data.draw)
    found = output(NativePlan(case.graph, 0, 1), case, torch.zeros(0, *case.shape))
    assert found.shape == (0, *list(case.graph.values)[list(case.graph.outputs.values())[-1]].shape[1:])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
@each_machine
@each_kind
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_values_that_are_not_finite(kind: str, machine: Machine, value: float, data: st.DataObject) -> None:
    """They go where they go in PyTorch, where no weight is zero."""
    case = CASES[kind](data.draw)
    if any(weight.count_nonzero() < weight.numel() for step in case.graph.steps for weight in step.weights.values()):
        return
    x = torch.randn(2, *case.shape)
    places = x.view(-1)
    places[data.draw(st.integers(0, x.numel() - 1))] = value
    found = output(NativePlan(case.graph, 2, 1, machine), case, x)
    with torch.no_grad():
        expected = case.reference(x.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4, equal_nan=True)
