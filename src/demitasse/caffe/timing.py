"""Measures the time of each layer, forward and backward."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from demitasse.caffe.net import Net

Seconds = defaultdict[str, float]


class LayerTimes:
    """Runs a net layer by layer and adds up the time of each.

    The gradients of the tops are set to ones, since the time does not depend on them.

    Args:
        net: the net.
        device: the device of its tensors.

    Attributes:
        forward: label of layer (including data layers) -> seconds of the forward passes.
        backward: label of layer -> seconds of the backward passes.
    """

    def __init__(self, net: Net, device: torch.device) -> None:
        self.net = net
        self.device = device
        self.forward: Seconds = defaultdict(float)
        self.backward: Seconds = defaultdict(float)

    def run(self) -> float:
        """Runs one batch forward and backward, and returns its loss."""
        blobs: dict[str, Tensor] = {}
        backwards: list[tuple[str, Callable[[], object]]] = []
        for label, spec in zip(self.net.labels, self.net.spec.layer, strict=True):
            if label in self.net.sources:
                source = self.net.sources[label]
                with self._timed(self.forward, label):
                    batch = map(torch.zeros, source.shapes) if source.fed else source.next_batch()
                    tops = [top.to(self.device) for top in batch]
                self.backward[label] += 0.0
            else:
                leaves = [blobs[name].detach() for name in spec.bottom]
                tops, backward = self._run_layer(label, leaves)
                backwards.append((label, backward))
            blobs.update(zip(spec.top, tops, strict=True))
        for name, backward in reversed(backwards):
            with self._timed(self.backward, name):
                backward()
        return float(self.net.loss(blobs).detach())

    def _run_layer(self, name: str, leaves: list[Tensor]) -> tuple[list[Tensor], Callable[[], object]]:
        layer = self.net.layer(name)
        for leaf in leaves:
            leaf.requires_grad_(leaf.is_floating_point())
        # copies, since the layer may work in place
        bottoms = [leaf.clone(memory_format=torch.preserve_format) for leaf in leaves]
        with self._timed(self.forward, name):
            result = layer(*bottoms)
        tops = [result] if isinstance(result, Tensor) else list(result)
        outputs = [top for top in tops if top.requires_grad]
        inputs = [tensor for tensor in (*leaves, *layer.parameters()) if tensor.requires_grad]
        ones = [torch.ones_like(top) for top in outputs]

        def backward() -> object:
            return outputs and torch.autograd.grad(outputs, inputs, ones, allow_unused=True)

        return tops, backward

    @contextmanager
    def _timed(self, times: Seconds, name: str) -> Iterator[None]:
        self._synchronize()
        start = time.perf_counter()
        yield
        self._synchronize()
        times[name] += time.perf_counter() - start

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
