"""The plan of a net: its program after all passes, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.inference import fused
from demitasse.caffe.inference.fold import fold
from demitasse.caffe.inference.fuse import fuse
from demitasse.caffe.inference.kernels import ConvolutionKernel, InnerProductKernel, LRNKernel
from demitasse.caffe.inference.memory import release
from demitasse.caffe.inference.program import Program, read
from demitasse.caffe.layers import Layer
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.deconvolution import Deconvolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.normalization import LRN
from demitasse.caffe.net import Net
from demitasse.errors import UsageError


class Plan:
    """Computes what a net computes, without gradients; :func:`optimize` makes it.

    Attributes:
        program: the steps.
    """

    def __init__(self, program: Program) -> None:
        self.program = program

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns name -> tensor of the outputs, of the parts of the loss, and of the blobs that were to be kept.

        Args:
            batch: the blobs that sources and the caller feed, by name; of any batch size that the layers allow.

        Raises:
            UsageError: a blob is not fed.
        """
        values: dict[int, Tensor] = {}
        for name, value in self.program.inputs.items():
            if name not in batch:
                raise UsageError(f"blob {name!r} is not fed; found {', '.join(batch) or 'none'}")
            values[value] = _arranged(batch[name])
        for step in self.program.steps:
            result = step.run(*[values[value] for value in step.bottoms])
            values.update(zip(step.tops, (result,) if isinstance(result, Tensor) else result, strict=True))
            for value in step.dead:
                del values[value]
        return {name: values[value] for name, value in self.program.results.items()}


def _arranged(tensor: Tensor) -> Tensor:
    if tensor.ndim == 4 and tensor.device.type == "cpu":
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def optimize(net: Net, keep: Collection[str] = ()) -> Plan:
    """Returns a fast plan of a net for use.

    Batch normalization and scaling go into the weights before them, sums and activations into the convolution
    before them; dropout goes; memory is used again. Results differ from the net's in rounding, by about 1e-6 of
    their size. The plan keeps the values that the weights have now: make another after they change.

    Args:
        net: in phase TEST; it is not changed.
        keep: names of blobs to return beside outputs and parts of the loss.

    Raises:
        UsageError: the net is in phase TRAIN.
        NetError: ``keep`` names no blob.
    """
    if net.phase != schema.TEST:
        raise UsageError("optimize takes a net in phase TEST; this one is in phase TRAIN")
    program = read(net, keep)
    with torch.no_grad():
        for step in program.steps:
            step.run = _kernel(step.layer)
        fold(program)
        fuse(program)
        release(program)
    return Plan(program)


def _kernel(layer: Layer) -> Callable[..., Any]:
    """Returns what is to compute a layer: the layer itself if there is no kernel for it, or if it trains."""
    if layer.training:
        return layer
    is_fused = fused.available() and all(blob.device.type == "cpu" for blob in layer.blobs())
    if isinstance(layer, Convolution) and not isinstance(layer, Deconvolution) and len(layer.spec.bottom) == 1:
        images = layer.axis == 1 and len(layer.window.stride) == 2
        return fused.FusedConvolutionKernel(layer) if is_fused and images else ConvolutionKernel(layer)
    if isinstance(layer, InnerProduct):
        return fused.FusedInnerProductKernel(layer) if is_fused else InnerProductKernel(layer)
    if isinstance(layer, LRN) and layer.across and is_fused:
        return LRNKernel(layer)
    return layer
