"""Detection layers in graphs of tensors: what they find, by an operation for non-maximum suppression."""

from __future__ import annotations

import math
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import ExportError
from demitasse.export.suppression import Suppress
from demitasse.graph import Step

_LOWEST = torch.finfo(torch.float32).min


class _Candidates(Protocol):
    """A layer that proposes boxes, before suppression; see ``candidates`` of the layers."""

    def candidates(self, *bottoms: Tensor) -> tuple[Tensor, ...]: ...


class Detections(nn.Module):
    """DetectionOutput."""

    def __init__(self, step: Step, suppress: Suppress) -> None:
        super().__init__()
        self.settings, self.layer, self.suppress = step.settings, cast(_Candidates, step.call), suppress
        if self.settings.eta < 1:
            raise ExportError(f"layer {step.name!r}: eta is {self.settings.eta:g}; graphs suppress only with 1")

    @override
    def forward(self, offsets: Tensor, scores: Tensor, priors: Tensor, *first: Tensor) -> Tensor:
        settings = self.settings
        boxes, by_class = self.layer.candidates(offsets, scores, priors, *first)
        _, classes, size = by_class.shape
        labels = torch.arange(classes)
        by_class = by_class.masked_fill((labels == settings.background)[:, None], -math.inf)
        if settings.top_k is not None and settings.top_k < size:
            least = by_class.topk(settings.top_k, -1).values[..., -1:]
            by_class = torch.where(by_class >= least, by_class, -math.inf)
        if not settings.shares:  # the boxes of each class are a batch of their own
            boxes, by_class = boxes.transpose(1, 2), by_class.reshape(-1, 1, size)
        boxes = boxes.reshape(-1, size, 4)
        wide = boxes if settings.normalized else _one_more(boxes)
        most = size if settings.keep_top_k is None else min(settings.keep_top_k, size)
        ranked = size if settings.top_k is None else min(settings.top_k, size)
        kept = self.suppress(wide, by_class, settings.threshold, max(settings.least, _LOWEST), most, ranked)
        batch, label, place = kept.unbind(1)
        score = by_class.reshape(-1)[(batch * by_class.shape[1] + label) * size + place]
        corners = boxes.reshape(-1, 4)[batch * size + place]
        item = batch if settings.shares else batch // classes
        label = label if settings.shares else batch % classes
        if settings.keep_top_k is not None:
            best = _ranks(item, score) < settings.keep_top_k
            item, label, score, corners = item[best], label[best], score[best], corners[best]
        return _rows(item, label, score, corners, offsets)


class YoloDetections(nn.Module):
    """YoloDetectionOutput and Yolov3DetectionOutput."""

    def __init__(self, step: Step, suppress: Suppress) -> None:
        super().__init__()
        self.settings, self.layer, self.suppress = step.settings, cast(_Candidates, step.call), suppress

    @override
    def forward(self, *bottoms: Tensor) -> Tensor:
        settings = self.settings
        boxes, scores, labels = self.layer.candidates(*bottoms)
        size = scores.shape[1]
        least = _below(settings.least) if settings.inclusive else settings.least
        kept = self.suppress(boxes, scores[:, None], _below(settings.threshold), least, size, size)
        place = kept[:, 0] * size + kept[:, 2]
        return _rows(
            kept[:, 0],
            labels.reshape(-1)[place] + 1,
            scores.reshape(-1)[place],
            boxes.reshape(-1, 4)[place],
            bottoms[0],
        )


class Proposals(nn.Module):
    """Proposal."""

    def __init__(self, step: Step, suppress: Suppress) -> None:
        super().__init__()
        self.settings, self.layer, self.suppress = step.settings, cast(_Candidates, step.call), suppress
        self.has_scores = len(step.outputs) == 2

    @override
    def forward(self, scores: Tensor, offsets: Tensor, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        settings = self.settings
        boxes, ranks = self.layer.candidates(scores, offsets, image)
        size = ranks.shape[1]
        if 0 < settings.before < size:
            ranks, order = ranks.topk(settings.before, 1)
            boxes, size = boxes.gather(1, order[..., None].expand(-1, -1, 4)), settings.before
        kept = self.suppress(
            _one_more(boxes), ranks[:, None], settings.threshold, _LOWEST, settings.after or size, size
        )
        place = kept[:, 0] * size + kept[:, 2]
        regions = torch.cat([kept[:, :1].to(boxes.dtype), boxes.reshape(-1, 4)[place]], 1)
        return (regions, ranks.reshape(-1)[place][:, None]) if self.has_scores else regions


# kind -> the module that computes it
DETECTION: dict[str, type[Detections] | type[Proposals] | type[YoloDetections]] = {
    "DetectionOutput": Detections,
    "Proposal": Proposals,
    "YoloDetectionOutput": YoloDetections,
    "Yolov3DetectionOutput": YoloDetections,
}


def _one_more(boxes: Tensor) -> Tensor:
    """Returns boxes whose areas are those of boxes whose corners are the numbers of pixels."""
    return boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])


def _below(value: float) -> float:
    """Returns the next smaller number of float32."""
    return float(torch.nextafter(torch.tensor(value), torch.tensor(-math.inf)))


def _ranks(item: Tensor, score: Tensor) -> Tensor:
    """Returns the rank of each box among those of its item, 0 for the best; of equal scores, the first is better."""
    number = torch.ones_like(item).cumsum(0)
    better = (score > score[:, None]) | ((score == score[:, None]) & (number < number[:, None]))
    return ((item == item[:, None]) & better).sum(1)


def _rows(item: Tensor, label: Tensor, score: Tensor, corners: Tensor, like: Tensor) -> Tensor:
    """Returns item, label, score and corners of each box, or without boxes a row of -1 for each item."""
    columns = [item[:, None].to(score.dtype), label[:, None].to(score.dtype), score[:, None], corners]
    every = torch.arange(like.shape[0])[:, None].to(score.dtype)
    nothing = torch.cat([every, torch.full_like(every, -1).expand(-1, 6)], 1)
    is_empty = (torch.ones_like(item).sum() == 0).expand(like.shape[0])
    return torch.cat([torch.cat(columns, 1), nothing[is_empty]])[None, None]
