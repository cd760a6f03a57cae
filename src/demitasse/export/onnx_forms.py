"""The module that computes a step in ONNX, where its operators differ from torch's."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from demitasse.export import forms
from demitasse.export.detection import DETECTION
from demitasse.export.suppression import suppress
from demitasse.graph import Step

OPSET = 18


def form(step: Step) -> nn.Module:
    """Returns the module that computes a step with operators of ONNX; see :func:`demitasse.export.forms.form`."""
    if step.kind == "LRN" and step.settings.across:
        return NativeLRN(step)
    if step.kind == "Pooling" and step.settings.method != "STOCHASTIC":
        return pool(step.settings, step.tensors.get("share"), len(step.outputs) == 2)
    if step.kind in DETECTION:
        return DETECTION[step.kind](step, suppress)
    if step.kind == "ROIPooling":
        return RegionMaxima(step)
    if step.kind == "SPP":
        return Pyramid(step)
    return Ranking(step) if step.kind == "ArgMax" else forms.form(step)


class NativeLRN(nn.Module):
    """ONNX's own operator, which torch does not have."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        given = step.settings
        self.settings = {"size": given.size, "alpha": given.alpha, "beta": given.beta, "bias": given.k}

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        found: Tensor = torch.onnx.ops.symbolic(
            "LRN", [bottom], self.settings, dtype=bottom.dtype, shape=bottom.shape, version=OPSET
        )
        return found


class RegionMaxima(nn.Module):
    """ROIPooling, ONNX's own operator."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.settings = step.settings

    @override
    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        pooled = list(self.settings.pooled)
        found: Tensor = torch.onnx.ops.symbolic(
            "MaxRoiPool",
            [features, regions.flatten(1)],
            {"pooled_shape": pooled, "spatial_scale": self.settings.scale},
            dtype=features.dtype,
            shape=(regions.shape[0], features.shape[1], *pooled),
            version=OPSET,
        )
        return found


def pool(settings: SimpleNamespace, share: Tensor | None = None, places: bool = False) -> nn.Module:
    """Returns the form of a Pooling; for the arguments see :class:`demitasse.export.forms.Pool`.

    Before opset 22 a window of ONNX may start behind the padded plane, where torch has none; runtimes disagree on
    what a mean that reaches over the edge counts; and what a mean is divided by cannot be told. All these planes are
    padded by hand, so that no window reaches over the edge.
    """
    found = forms.Pool(settings, share, places)
    if found.is_maximum:
        fits = bool(settings.margin) or len(set(found.over_edge)) == 1
    else:
        fits = not (settings.margin or any(found.over_edge))
    return found if fits else PaddedPool(settings, places)


class PaddedPool(forms.Pool):
    """The form of a Pooling whose plane is padded so that the windows fit."""

    share: Tensor

    def __init__(self, settings: SimpleNamespace, places: bool) -> None:
        axes = list(zip(settings.plane, settings.kernel, settings.stride, settings.pad, settings.sizes, strict=True))
        ends = [(size - 1) * stride + kernel - length - pad for length, kernel, stride, pad, size in axes]
        margin = (settings.pad[1], ends[1], settings.pad[0], ends[0])
        # a mean counts the padding of the net, not what is added here
        ones = torch.ones(1, 1, *(length + 2 * pad for length, _, _, pad, _ in axes))
        added = [end - pad for end, pad in zip(ends, settings.pad, strict=True)]
        counted = F.avg_pool2d(F.pad(ones, (0, added[1], 0, added[0])), settings.kernel, settings.stride)
        share = torch.where(counted > 0, 1 / counted, 0)
        super().__init__(SimpleNamespace(**{**vars(settings), "margin": margin}), share, places)

    @override
    def mean(self, bottom: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(bottom, self.margin), self.kernel, self.stride) * self.share


class Pyramid(nn.Module):
    """SPP, of such poolings."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        levels = enumerate(step.settings.levels)
        self.levels = nn.ModuleList(pool(level, step.tensors.get(f"share{index}")) for index, level in levels)

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        if len(self.levels) == 1:
            top: Tensor = self.levels[0](bottom)
            return top
        return torch.cat([level(bottom).flatten(1) for level in self.levels], 1)


class Ranking(nn.Module):
    """ArgMax by ONNX's TopK, which takes the first of equal scores; seen from behind it is the last."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.settings = step.settings

    @override
    def forward(self, bottom: Tensor) -> Tensor:
        settings = self.settings
        if settings.axis is not None:
            scores, places = self._rank(bottom, settings.axis)
            return scores if settings.with_scores else places
        scores, places = self._rank(bottom.flatten(1), 1)
        ranked = torch.stack((places, scores), 1) if settings.with_scores else places[:, None]
        return ranked.reshape(*ranked.shape, *(1,) * (bottom.ndim - 3))

    def _rank(self, bottom: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        scores, places = torch.topk(bottom.flip(axis), self.settings.top_k, axis)
        return scores, (bottom.shape[axis] - 1 - places).to(bottom.dtype)
