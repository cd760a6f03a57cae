"""Sums and activations fused into the kernel before them."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.caffe.inference.kernels import Activation, ConvolutionKernel, Kernel
from demitasse.caffe.inference.program import Program, Step
from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.activation import Clip, ReLU
from demitasse.caffe.layers.eltwise import Eltwise


def fuse(program: Program) -> None:
    """Fuses what can be fused."""
    for step in list(program.steps):
        taker = program.only_taker(step.tops[0]) if isinstance(step.run, ConvolutionKernel) else None
        if taker and _is_sum(taker):
            _add(program, step, taker)
    for step in list(program.steps):
        if isinstance(step.run, Kernel):
            taker = program.only_taker(step.tops[0])
            step.run.activation = activation_of(taker.layer) if taker else None
            if taker and step.run.activation:
                program.take_in(step, taker)


def _add(program: Program, step: Step, taker: Step) -> None:
    """Moves a convolution to where the sum stood: there both summands are known."""
    step.bottoms += [value for value in taker.bottoms if value not in step.tops]
    step.tops = taker.tops
    program.steps.remove(step)
    program.steps[program.steps.index(taker)] = step


def _is_sum(step: Step) -> bool:
    """Returns whether a step adds two values without factors, and no convolution does it already."""
    layer = step.run
    return isinstance(layer, Eltwise) and layer.operation == "SUM" and not layer.coeff and len(set(step.bottoms)) == 2


def activation_of(layer: Layer) -> Activation | None:
    """Returns the activation that a layer is, if kernels know it."""
    if isinstance(layer, Clip):
        bounds = [layer.min, layer.max]
        return Activation(partial(Tensor.clamp_, min=layer.min, max=layer.max), "hardtanh", bounds)
    if not isinstance(layer, ReLU):
        return None
    if layer.slope:
        return Activation(partial(F.leaky_relu_, negative_slope=layer.slope), "leaky_relu", [layer.slope])
    return Activation(torch.relu_, "relu", [])
