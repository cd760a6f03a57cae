"""Graphs computed from sparse weights: the same as with dense operations, whatever the shapes."""

from __future__ import annotations

import threading
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.graph import Graph
from demitasse.graph.caffe import of_whole_net
from demitasse.runtime import optimize
from demitasse.runtime.dense import DensePlan
from demitasse.runtime.native.llvm import Machine, host
from demitasse.runtime.native.plan import NativePlan, NotNative
from demitasse.runtime.plan import PASSES

AVX2 = host()._replace(cpu="haswell", features="+avx2,+fma", lanes=8, registers=16)
NARROW = AVX2._replace(lanes=4)
MACHINES = {"this": host(), "avx2": AVX2, "narrow": NARROW} if host().triple.startswith("x86_64") else {"this": host()}

each_machine = pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())


def net(text: str, shape: tuple[int, ...] = (1, 6, 9, 11), density: float = 0.3) -> Net:
    dims = " ".join(f"dim: {size}" for size in shape)
    inputs = f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'
    found = Net(prototxt.parse(inputs + text, schema.NetParameter(), "net"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in found.named_layers().values():
            for name, blob in zip(layer.blob_names, layer.blobs(), strict=True):
                blob.uniform_(0.5, 1.5, generator=generator) if name in ("variance", "factor") else blob.normal_(
                    generator=generator
                )
                if name == "weight" and layer.spec.type in ("Convolution", "InnerProduct"):
                    blob.mul_(torch.rand(blob.shape, generator=generator) < density)
    return found


def graph(built: Net) -> Graph:
    return reduce(lambda made, apply: apply(made), PASSES, of_whole_net(built))


def layer(kind: str, bottoms: str, top: str, options: str = "") -> str:
    ends = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    return f'layer {{ name: "{top}" type: "{kind}" {ends} top: "{top}" {options} }}\n'


def conv(bottom: str, top: str, outputs: int = 5, options: str = "kernel_size: 3 pad: 1") -> str:
    return layer("Convolution", bottom, top, f"convolution_param {{ num_output: {outputs} {options} }}")


def ip(bottom: str, top: str, outputs: int = 7) -> str:
    return layer("InnerProduct", bottom, top, f"inner_product_param {{ num_output: {outputs} }}")


def agree(built: Net, batch: int, threads: int = 1, machine: Machine | None = None, tolerance: float = 1e-5) -> None:
    found = graph(built)
    native = NativePlan(found, batch, threads, machine)
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        inputs = {name: torch.randn(batch, *shape[1:], generator=generator) for name, shape in built.inputs.items()}
        expected, given = DensePlan(found)(inputs), native(inputs)
        assert given.keys() == expected.keys()
        for name, tensor in expected.items():
            assert given[name].shape == tensor.shape
            size = float(tensor.abs().max()) + 1e-30
            assert float((given[name] - tensor).abs().max()) <= tolerance * size, name


NETS = {
    "three by three": conv("data", "a"),
    "without bias": conv("data", "a", 5, "kernel_size: 3 bias_term: false"),
    "pointwise": conv("data", "a", 5, "kernel_size: 1") + conv("a", "b", 17, "kernel_size: 1"),
    "stride": conv("data", "a", 5, "kernel_size: 3 stride: 2 pad: 1") + conv("a", "b", 4, "kernel_size: 1 stride: 2"),
    "one side": conv("data", "a", 5, "kernel_h: 5 kernel_w: 2 stride_h: 3 stride_w: 1 pad_h: 2 pad_w: 0"),
    "dilated": conv("data", "a", 5, "kernel_size: 3 dilation: 2 pad: 3"),
    "grouped": conv("data", "a", 9, "kernel_size: 3 group: 3") + conv("a", "b", 9, "kernel_size: 3 pad: 1 group: 9"),
    "more padding than needed": conv("data", "a", 3, "kernel_size: 2 pad: 3"),
    "relu": conv("data", "a") + layer("ReLU", "a", "b"),
    "leaky": conv("data", "a") + layer("ReLU", "a", "b", "relu_param { negative_slope: 0.2 }") + ip("b", "c"),
    "clip": conv("data", "a") + layer("Clip", "a", "b", "clip_param { min: -0.5 max: 2 }"),
    "residual": conv("data", "a", 6) + conv("a", "b", 6) + layer("Eltwise", "a b", "c") + layer("ReLU", "c", "d"),
    "sum of the input": layer("Eltwise", "data data", "a", "eltwise_param { coeff: 1 coeff: -0.5 }") + conv("a", "b"),
    "maximum of three": conv("data", "a", 6)
    + conv("data", "b", 6)
    + layer("Eltwise", "a b data", "c", "eltwise_param { operation: MAX }"),
    "product": conv("data", "a", 6) + layer("Eltwise", "a data", "c", "eltwise_param { operation: PROD }"),
    "max pooling": layer("Pooling", "data", "a", "pooling_param { kernel_size: 3 stride: 2 }") + conv("a", "b"),
    "padded max pooling": layer("Pooling", "data", "a", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
    "mean": layer("Pooling", "data", "a", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    "mean over the edge": layer("Pooling", "data", "a", "pooling_param { pool: AVE kernel_size: 4 stride: 3 }"),
    "global mean": conv("data", "a") + layer("Pooling", "a", "b", "pooling_param { pool: AVE global_pooling: true }"),
    "concat": conv("data", "a", 3) + conv("data", "b", 4) + layer("Concat", "a data b", "c") + conv("c", "d"),
    "inner product": ip("data", "a") + layer("ReLU", "a", "b") + ip("b", "c", 3),
    "flattened": layer("Flatten", "data", "a") + ip("a", "b") + layer("Softmax", "b", "c"),
    "softmax of planes": conv("data", "a") + layer("Softmax", "a", "b"),
    "lrn": layer("LRN", "data", "a", "lrn_param { alpha: 0.5 }") + conv("a", "b"),
    "lrn of another power": layer("LRN", "data", "a", "lrn_param { alpha: 0.5 beta: 0.6 local_size: 3 k: 2 }"),
    "norm before": layer("BatchNorm", "data", "a") + layer("ReLU", "a", "b") + conv("b", "c"),
    "dropout": conv("data", "a") + layer("Dropout", "a", "b") + ip("b", "c"),
    "nothing": layer("ReLU", "data", "a"),
}


@each_machine
@pytest.mark.parametrize("name", NETS)
def test_nets(name: str, machine: Machine) -> None:
    built = net(NETS[name])
    for batch, threads in ((1, 1), (3, 2), (9, 1)):
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
