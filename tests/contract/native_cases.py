"""Small nets for the contract of the native kernels: of each operation, with whatever geometry is drawn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from demitasse.caffe.net import Net
from demitasse.graph import Graph
from demitasse.graph.graph import Step
from tests.runtime.native.nets import graph, ip, layer, net

Draw = Callable[[st.SearchStrategy[int]], int]


class Case(NamedTuple):
    """A net with one input.

    Attributes:
        graph: after all passes.
        reference: computes the same in float64.
        shape: of an image.
    """

    graph: Graph
    reference: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]


def of_text(text: str, shape: tuple[int, ...], density: float = 1.0, powers: bool = False) -> Case:
    """Returns a Caffe net, whose last blob is compared."""
    built = net(text, (1, *shape), density)
    if powers:
        for each in built.named_layers().values():
            if each.spec.type in ("Convolution", "InnerProduct"):
                _to_powers(each.blobs()[0])
    exact: Net = copy.deepcopy(built).double()
    return Case(graph(built), lambda x: list(exact({"data": x}).values())[-1], shape)


def _to_powers(weight: Tensor) -> None:
    """Rounds values to 2^-4 to 2^2 of either sign, where they are not zero."""
    with torch.no_grad():
        rounded = weight.sign() * torch.exp2(weight.abs().clamp(2**-4, 4).log2().round())
        weight.copy_(torch.where(weight == 0, weight, rounded))


def of_step(kind: str, module: nn.Module, shape: tuple[int, ...], **settings: object) -> Case:
    """Returns one step without weights, which computes what a module computes."""
    found = Graph(kind)
    found.inputs = {"x": found.add_value("x", (1, *shape))}
    found.outputs = {"y": found.add_value("y", tuple(module(torch.zeros(1, *shape)).shape))}
    found.steps = [Step(kind, kind, [0], [1], SimpleNamespace(**settings), {}, module)]
    return Case(found, module, shape)


class Geometry(NamedTuple):
    """Windows over a plane, by axis."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    plane: tuple[int, int]

    def options(self) -> str:
        """Returns the settings of the windows as a prototxt says them, but for the dilation."""
        names = ("kernel", "stride", "pad")
        pairs = zip(names, self, strict=False)
        return " ".join(f"{name}_{axis}: {size}" for name, pair in pairs for axis, size in zip("hw", pair, strict=True))


def geometry(draw: Draw, dilated: bool = True) -> Geometry:
    """Draws windows of which at least one fits: also larger than the plane, and further apart than they are large."""
    axes = []
    for _ in range(2):
        kernel, stride, dilation = (draw(st.integers(1, most)) for most in (5, 7, 3 if dilated else 1))
        span = dilation * (kernel - 1) + 1
        pad = draw(st.integers(0, 3 if dilated else min(3, kernel - 1)))
        least = max(1, span - 2 * pad)
        axes.append((kernel, stride, pad, dilation, draw(st.integers(least, least + 14))))
    return Geometry(*zip(*axes, strict=True))


def _density(draw: Draw) -> float:
    return (0.0, 0.05, 0.5, 1.0)[draw(st.integers(0, 3))]


def _activation(draw: Draw, bottom: str, top: str) -> str:
    options = ("ReLU", ""), ("ReLU", "relu_param { negative_slope: 0.2 }"), ("Clip", "clip_param { min: -0.5 max: 2 }")
    chosen = draw(st.integers(0, 3))
    return layer(options[chosen][0], bottom, top, options[chosen][1]) if chosen < 3 else ""


def _shape(draw: Draw) -> tuple[int, int, int]:
    return draw(st.integers(1, 20)), draw(st.integers(1, 19)), draw(st.integers(1, 19))


def convolution(draw: Draw) -> Case:
    windows, group = geometry(draw), draw(st.integers(1, 3))
    channels, outputs = group * draw(st.integers(1, 9)), group * draw(st.integers(1, 9))
    dilation = " ".join(f"dilation: {size}" for size in windows.dilation)
    bias = "true" if draw(st.integers(0, 1)) else "false"
    options = f"num_output: {outputs} group: {group} bias_term: {bias} {windows.options()} {dilation}"
    text = layer("Convolution", "data", "a", f"convolution_param {{ {options} }}")
    if draw(st.integers(0, 1)):
        text += layer("ReLU", "a", "b") + layer("Convolution", "data", "c", f"convolution_param {{ {options} }}")
        text += layer("Eltwise", "c b", "d") + _activation(draw, "d", "e")
    else:
        text += _activation(draw, "a", "b")
    return of_text(text, (channels, *windows.plane), _density(draw), bool(draw(st.integers(0, 1))))


def inner_product(draw: Draw) -> Case:
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 5)), draw(st.integers(1, 9))
    text = ip("data", "a", draw(st.integers(1, 40))) + _activation(draw, "a", "b")
    text += ip("b" if '"b"' in text else "a", "c", draw(st.integers(1, 20)))
    return of_text(text, shape, _density(draw), bool(draw(st.integers(0, 1))))


def pooling(draw: Draw) -> Case:
    windows, method = geometry(draw, dilated=False), ("MAX", "AVE")[draw(st.integers(0, 1))]
    if draw(st.integers(0, 4)) == 0:
        text = layer("Pooling", "data", "a", f"pooling_param {{ pool: {method} global_pooling: true }}")
        return of_text(text, _shape(draw))
    text = layer("Pooling", "data", "a", f"pooling_param {{ pool: {method} {windows.options()} }}")
    return of_text(text, (draw(st.integers(1, 9)), *windows.plane))


class _Mean(nn.Module):
    def __init__(self, keeps_axes: bool) -> None:
        super().__init__()
        self.keeps_axes = keeps_axes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self.keeps_axes)


def _global_mean(draw: Draw) -> Case:
    keeps_axes = bool(draw(st.integers(0, 1)))
    return of_step("GlobalMean", _Mean(keeps_axes), _shape(draw), keeps_axes=keeps_axes)


def _elementwise(draw: Draw) -> Case:
    text = layer("ReLU", "data", "a") + layer("Clip", "data", "b", "clip_param { min: -0.5 max: 2 }")
    bottoms = "a data b" if draw(st.integers(0, 1)) else "data a"
    coeff = " ".join(f"coeff: {0.5 * index - 1}" for index in range(len(bottoms.split())))
    options = ("", coeff, "operation: MAX", "operation: PROD")[draw(st.integers(0, 3))]
    return of_text(text + layer("Eltwise", bottoms, "c", f"eltwise_param {{ {options} }}"), _shape(draw))


def _one(kind: str, *options: str) -> Callable[[Draw], Case]:
    """Returns how a layer on the input alone is drawn: with one of the options."""
    return lambda draw: of_text(layer(kind, "data", "a", options[draw(st.integers(0, len(options) - 1))]), _shape(draw))


def _softmax(draw: Draw) -> Case:
    flat = draw(st.integers(0, 1))
    text = layer("Flatten", "data", "a") + layer("Softmax", "a", "b") if flat else layer("Softmax", "data", "a")
    return of_text(text, _shape(draw))


def _response(draw: Draw) -> Case:
    size, beta, k = 2 * draw(st.integers(0, 3)) + 1, (0.75, 0.6)[draw(st.integers(0, 1))], draw(st.integers(1, 2))
    options = f"lrn_param {{ local_size: {size} alpha: 0.5 beta: {beta} k: {k} }}"
    return of_text(layer("LRN", "data", "a", options), _shape(draw))


def _concatenation(draw: Draw) -> Case:
    text = layer("ReLU", "data", "a") + layer("Clip", "data", "b", "clip_param { min: -0.5 max: 2 }")
    return of_text(text + layer("Concat", ("a data", "b a data")[draw(st.integers(0, 1))], "c"), _shape(draw))


CASES: dict[str, Callable[[Draw], Case]] = {
    "Convolution": convolution,
    "InnerProduct": inner_product,
    "Pooling": pooling,
    "GlobalMean": _global_mean,
    "Eltwise": _elementwise,
    "ReLU": _one("ReLU", "", "relu_param { negative_slope: 0.2 }"),
    "Clip": _one("Clip", "clip_param { min: -0.5 max: 2 }"),
    "BatchNorm": _one("BatchNorm", ""),
    "Scale": _one("Scale", "", "scale_param { bias_term: true }"),
    "Bias": _one("Bias", ""),
    "LRN": _response,
    "Softmax": _softmax,
    "Concat": _concatenation,
    "Flatten": _one("Flatten", ""),
    "Reshape": _one("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
}
