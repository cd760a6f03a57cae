"""What stands for a layer in ONNX, where its operators differ from torch's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demitasse.caffe.layers.pooling import Pooling
from demitasse.caffe.layers.ranking import ArgMax
from demitasse.export import forms
from demitasse.export.steps import Step

OPSET = 18


def form(step: Step) -> nn.Module:
    """Returns the module that computes a step with operators of ONNX; see :func:`demitasse.export.forms.form`."""
    if step.kind == "LRN" and step.layer.across:
        return LRN(step)
    if step.kind == "Pooling":
        return pool(step.layer)
    if step.kind == "SPP":
        return Pyramid(step)
    return Ranking(step) if step.kind == "ArgMax" else forms.form(step)


class LRN(nn.Module):
    """ONNX's own operator, which torch has not."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        layer = step.layer
        self.settings = {"size": layer.size, "alpha": layer.alpha, "beta": layer.beta, "bias": layer.k}

    def forward(self, bottom: Tensor) -> Tensor:
        found: Tensor = torch.onnx.ops.symbolic(
            "LRN", [bottom], self.settings, dtype=bottom.dtype, shape=bottom.shape, version=OPSET
        )
        return found


def pool(layer: Pooling) -> nn.Module:
    """Returns the form of a Pooling.

    Before opset 22 a window of ONNX may start behind the padded plane, where torch has none; of a mean that reaches
    over the edge runtimes count other entries; and what a mean is divided by cannot be told. All these planes are
    padded by hand, so that no window reaches over.
    """
    found = forms.Pool(layer)
    if layer.method == "MAX":
        fits = bool(layer.margin) or len(set(found.over_edge)) == 1
    else:
        fits = not (layer.margin or any(found.over_edge))
    return found if fits or layer.method == "STOCHASTIC" else PaddedPool(found)


class PaddedPool(nn.Module):
    """Pooling of a plane that is padded so that the windows fit."""

    share: Tensor

    def __init__(self, pool: forms.Pool) -> None:
        super().__init__()
        self.layer = layer = pool.layer
        self.kernel, self.stride = layer.kernel, layer.stride
        axes = list(zip(layer.plane, layer.kernel, layer.stride, layer.pad, pool.sizes, strict=True))
        ends = [(size - 1) * stride + kernel - length - pad for length, kernel, stride, pad, size in axes]
        layer.margin = (layer.pad[1], ends[1], layer.pad[0], ends[0])
        # a mean counts the padding of the net, not what is added here
        ones = torch.ones(1, 1, *(length + 2 * pad for length, _, _, pad, _ in axes))
        added = [end - pad for end, pad in zip(ends, layer.pad, strict=True)]
        counted = F.avg_pool2d(F.pad(ones, (0, added[1], 0, added[0])), self.kernel, self.stride)
        self.register_buffer("share", torch.where(counted > 0, 1 / counted, 0))

        layer.ceil_mode = False

    def forward(self, bottom: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.layer.method == "MAX":
            return self.layer.maximum(bottom)
        return F.avg_pool2d(F.pad(bottom, self.layer.margin), self.kernel, self.stride) * self.share


class Pyramid(nn.Module):
    """SPP, of such poolings."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.levels = nn.ModuleList(pool(level) for level in step.layer.levels)

    def forward(self, bottom: Tensor) -> Tensor:
        if len(self.levels) == 1:
            top: Tensor = self.levels[0](bottom)
            return top
        return torch.cat([level(bottom).flatten(1) for level in self.levels], 1)


class Ranking(ArgMax):
    """ArgMax by ONNX's TopK, which takes the first of equal scores; seen from behind it is the last."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.layer.spec)
        self.setup(*step.shapes)

    def _rank(self, bottom: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        scores, places = torch.topk(bottom.flip(axis), self.top_k, axis)
        return scores, (bottom.shape[axis] - 1 - places).to(bottom.dtype)
