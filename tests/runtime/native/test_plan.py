"""Graphs computed from sparse weights: the same as with dense operations, whatever the shapes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from demitasse.runtime import optimize
from demitasse.runtime.native.llvm import Machine, host
from demitasse.runtime.native.plan import NativePlan, NotNative
from tests.runtime.native.nets import NETS, WHOLE_NETS, agree, conv, graph, ip, layer, net

AVX2 = host()._replace(cpu="haswell", features="+avx2,+fma", lanes=8, registers=16)
NARROW = AVX2._replace(lanes=4)
MACHINES = {"this": host(), "avx2": AVX2, "narrow": NARROW} if host().triple.startswith("x86_64") else {"this": host()}

each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())


@each_machine
@pytest.mark.parametrize("name", NETS)
def test_nets(name: str, machine: Machine) -> None:
    built = net(NETS[name])
    for batch, threads in ((1, 1), (2, 3), (3, 2), (9, 1)):
        agree(built, batch, threads, machine)


@each_machine
@pytest.mark.parametrize("name", WHOLE_NETS)
def test_whole_nets(name: str, machine: Machine) -> None:
    for density in (0.1, 1.0):
        built = net(*WHOLE_NETS[name], density)
        for batch, threads in ((1, 1), (8, 3)):
            agree(built, batch, threads, machine)


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
def test_densities(density: float) -> None:
    built = net(
        conv("data", "a", 33) + conv("a", "b", 40, "kernel_size: 1") + ip("b", "c", 50), (1, 20, 13, 8), density
    )
    for batch in (1, 16):
        agree(built, batch, 2)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_convolutions(data: st.DataObject) -> None:
    def pair(least: int, most: int) -> tuple[int, int]:
        return data.draw(st.integers(least, most)), data.draw(st.integers(least, most))

    group = data.draw(st.integers(1, 3))
    (kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w) = pair(1, 5), pair(1, 4), pair(0, 3)
    dilation = data.draw(st.integers(1, 2))
    height, width = data.draw(st.integers(9, 21)), data.draw(st.integers(9, 21))
    options = (
        f"kernel_h: {kernel_h} kernel_w: {kernel_w} stride_h: {stride_h} stride_w: {stride_w} "
        f"pad_h: {pad_h} pad_w: {pad_w} dilation: {dilation} group: {group}"
    )
    channels, outputs = group * data.draw(st.integers(1, 4)), group * data.draw(st.integers(1, 7))
    density = data.draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    built = net(conv("data", "a", outputs, options) + layer("ReLU", "a", "b"), (1, channels, height, width), density)
    agree(built, data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (layer("TanH", "data", "a"), "layer 'a' of type TanH"),
        (conv("data", "a", 4, "kernel_size: 3 axis: 2"), "layer 'a': a convolution over other than two axes"),
        (layer("Softmax", "data", "a", "softmax_param { axis: 2 }"), "a softmax along axis 2"),
        (layer("Pooling", "data", "a", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "a pooling with draws"),
    ],
)
def test_what_has_no_kernel(text: str, reason: str) -> None:
    with pytest.raises(NotNative, match=reason):
        NativePlan(graph(net(text)), 1, 1)


def test_a_plan_chooses_and_computes_the_same_either_way() -> None:
    wide = conv("data", "a", 64) + layer("ReLU", "a", "b") + conv("b", "c", 64) + ip("c", "d", 100)
    for density, native in ((0.05, True), (1.0, False)):
        built = net(wide, (1, 32, 15, 15), density)
        plan = optimize(built)
        for batch in (1, 4):
            inputs = {"data": torch.randn(batch, 32, 15, 15)}
            assert (plan.native(batch, 1) is not None) == native
            expected = plan.dense(inputs)["d"]
            torch.testing.assert_close(plan(inputs)["d"], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_what_it_cannot_take_is_computed_densely() -> None:
    built = net(conv("data", "a", 64) + conv("a", "b", 64), (1, 32, 15, 15), 0.05)
    plan = optimize(built)
    small = {"data": torch.randn(1, 32, 9, 9)}
    with torch.no_grad():
        torch.testing.assert_close(plan(small)["b"], built(small)["b"], rtol=1e-4, atol=1e-3)
    assert plan({"data": torch.randn(0, 32, 15, 15)})["b"].shape == (0, 64, 15, 15)
    double = {"data": torch.randn(1, 32, 15, 15, dtype=torch.float64)}
    with pytest.raises(RuntimeError):
        plan(double)


@pytest.mark.parametrize("kind", ["MAX", "AVE"])
def test_nan_goes_through_a_pooling(kind: str) -> None:
    built = net(layer("Pooling", "data", "a", f"pooling_param {{ pool: {kind} kernel_size: 3 stride: 2 pad: 1 }}"))
    plan = NativePlan(graph(built), 1, 1)
    for place in range(9):
        x = torch.randn(1, 6, 9, 11)
        x[0, 2, 3 + place // 3, 4 + place % 3] = float("nan")
        assert torch.equal(plan({"data": x})["a"].isnan(), built({"data": x})["a"].isnan())


def test_nan_is_the_larger_of_two() -> None:
    plan = NativePlan(graph(net(layer("Eltwise", "data data", "a", "eltwise_param { operation: MAX }"))), 1, 1)
    x = torch.randn(1, 6, 9, 11)
    x[0, 0, 0, 0] = float("nan")
    assert torch.equal(plan({"data": x})["a"].isnan(), x.isnan())


def test_weights_that_are_not_finite_are_kept() -> None:
    built = net(conv("data", "a", 4, "kernel_size: 1"))
    with torch.no_grad():
        built.layer("a").weight[1, 2] = float("nan")
        built.layer("a").weight[2, 0] = float("inf")
    inputs = {"data": torch.ones(1, 6, 9, 11)}
    found = NativePlan(graph(built), 1, 1)(inputs)["a"]
    assert found[0, 1].isnan().all()
    assert found[0, 2].isinf().all()
    assert found[0, [0, 3]].isfinite().all()


def test_results_of_a_run_outlive_the_next_and_threads_may_share_a_plan() -> None:
    built = net(conv("data", "a", 16) + ip("a", "b"))
    plan = NativePlan(graph(built), 2, 2)
    generator = torch.Generator().manual_seed(5)
    inputs = [torch.randn(2, 6, 9, 11, generator=generator) for _ in range(8)]
    expected = [plan({"data": each})["b"] for each in inputs]
    assert not torch.equal(expected[0], expected[1])
    found: dict[int, Tensor] = {}

    def work(index: int) -> None:
        for _ in range(20):
            found[index] = plan({"data": inputs[index]})["b"]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[index], expected[index]) for index in range(8))


def test_bytes_of_weights() -> None:
    built = net(conv("data", "a", 64, "kernel_size: 1") + conv("a", "b", 64, "kernel_size: 1"), density=0.1)
    with torch.no_grad():
        for name in ("a", "b"):
            weight = built.layer(name).weight
            weight.copy_(torch.where(weight == 0, 0.0, torch.where(weight > 0, 0.5, -0.25)))
    kept = sum(int(built.layer(name).weight.count_nonzero()) for name in ("a", "b"))
    plan = NativePlan(graph(built), 1, 1)
    assert plan.nbytes <= 2 * kept + 4 * (2 * 65) + 64
    assert np.isfinite(plan.nbytes)
