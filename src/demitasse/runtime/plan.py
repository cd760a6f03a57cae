"""The plan of a net: its graph after all passes, with a kernel for each step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from demitasse.errors import UsageError
from demitasse.graph.caffe import of_whole_net
from demitasse.graph.graph import Graph
from demitasse.graph.passes import (
    drop_identities,
    fold_normalizations,
    fuse,
    merge_normalizations,
    plan_memory,
)
from demitasse.runtime.kernels import kernel

_PASSES = (drop_identities, merge_normalizations, fold_normalizations, fuse, plan_memory)


class Plan:
    """Computes what a net computes, without gradients; :func:`optimize` makes it.

    Args:
        graph: with its memory planned.

    Attributes:
        graph: the graph; its steps are what is computed.
        kernels: what computes each of the steps.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        with torch.no_grad():
            self.kernels = [kernel(step) for step in graph.steps]
        self._calls = [
            (kernel, step.inputs, step.outputs, step.dead)
            for kernel, step in zip(self.kernels, graph.steps, strict=True)
        ]

    @torch.no_grad()
    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns name -> tensor of the outputs, of the parts of the loss, and of the blobs that were to be kept.

        Args:
            batch: the blobs that sources and the caller feed, by name; of any batch size that the layers allow.

        Raises:
            UsageError: a blob is not fed.
        """
        values: dict[int, Tensor] = {}
        for name, number in self.graph.inputs.items():
            if name not in batch:
                raise UsageError(f"blob {name!r} is not fed; found {', '.join(batch) or 'none'}")
            values[number] = _arranged(batch[name])
        for call, inputs, outputs, dead in self._calls:
            result = call(*[values[number] for number in inputs])
            values.update(zip(outputs, (result,) if isinstance(result, Tensor) else result, strict=True))
            for number in dead:
                del values[number]
        return {name: values[number] for name, number in self.graph.outputs.items()}


def _arranged(tensor: Tensor) -> Tensor:
    if tensor.ndim == 4 and tensor.device.type == "cpu":
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def optimize(net: nn.Module, keep: Collection[str] = ()) -> Plan:
    """Returns a fast plan of a Caffe net for use.

    Batch normalization and scaling go into the weights before them, sums and activations into the convolution
    before them; dropout is dropped; memory is used again. Results differ from the net's in rounding, by about 1e-6 of
    their size. The plan keeps the values that the weights have now: make another after they change.

    Args:
        net: a :class:`~demitasse.caffe.net.Net` in phase TEST; it is not changed.
        keep: names of blobs to return beside outputs and parts of the loss.

    Raises:
        UsageError: the net is in phase TRAIN, or no Caffe net.
        NetError: ``keep`` names no blob.
    """
    return Plan(reduce(lambda graph, apply: apply(graph), _PASSES, of_whole_net(net, keep)))
