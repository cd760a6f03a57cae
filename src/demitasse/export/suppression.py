"""Non-maximum suppression as an operation of PyTorch, which ONNX's exporter translates to its own operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from demitasse.extras import needs


@torch.library.custom_op("demitasse::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int) -> Tensor:
    """Returns which boxes are kept, (found, 3) int64: batch, class and box, by batch, class and score.

    Args:
        boxes: (batches, boxes, 4), corners.
        scores: (batches, classes, boxes).
        threshold: the largest overlap of two kept boxes of a class.
        least: boxes with this score or a lower one are left out.
        most: the largest number of boxes that are kept of a class.
    """
    found = [
        [batch, label, index]
        for batch in range(scores.shape[0])
        for label in range(scores.shape[1])
        for index in _kept(boxes[batch], scores[batch, label], threshold, least, most)
    ]
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 3)


@suppress.register_fake
def _shape(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int) -> Tensor:
    size = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty((size, 3), dtype=torch.int64)


def _kept(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int) -> list[int]:
    order = torch.argsort(scores, descending=True, stable=True)
    kept: list[int] = []
    for index in order[scores[order] > least].tolist():
        if len(kept) == most:
            break
        if not kept or bool((_overlaps(boxes[index], boxes[kept]) <= threshold).all()):
            kept.append(index)
    return kept


def _overlaps(box: Tensor, others: Tensor) -> Tensor:
    sides = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])).clamp(min=0)
    common = sides.prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - common
    return torch.where(common > 0, common / union, 0)


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns the table by which torch.onnx writes the operation."""
    with needs("onnxscript"):
        from onnxscript import opset18

    op: Any = opset18

    def non_max_suppression(boxes: Any, scores: Any, threshold: float, least: float, most: int) -> Any:
        return op.NonMaxSuppression(boxes, scores, most, threshold, least)

    return {torch.ops.demitasse.suppress.default: non_max_suppression}
