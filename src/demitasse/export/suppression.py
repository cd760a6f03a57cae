"""Non-maximum suppression in graphs: an operation that ONNX's exporter translates, and one of ordinary operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch._higher_order_ops import while_loop

from demitasse.errors import ExportError
from demitasse.extras import needs

_MOST_PAIRS = 1 << 27  # half a gigabyte for each number of a pair


class Suppress(Protocol):
    """Non-maximum suppression."""

    def __call__(self, boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int, ranked: int) -> Tensor:
        """Returns which boxes are kept; see :func:`suppress`."""


@torch.library.custom_op("demitasse::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int, ranked: int) -> Tensor:
    """Returns which boxes are kept, (found, 3) int64: batch, class and box, by batch, class and score.

    Args:
        boxes: (batches, boxes, 4), corners.
        scores: (batches, classes, boxes).
        threshold: the largest overlap of two kept boxes of a class.
        least: boxes with this score or a lower one are left out.
        most: the largest number of boxes that are kept of a class.
        ranked: how many boxes of a class have a score above negative infinity, at most.
    """
    found = [
        [batch, label, index]
        for batch in range(scores.shape[0])
        for label in range(scores.shape[1])
        for index in _kept(boxes[batch], scores[batch, label], threshold, least, most)
    ]
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 3)


@suppress.register_fake
def _shape(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int, ranked: int) -> Tensor:
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

    def non_max_suppression(boxes: Any, scores: Any, threshold: float, least: float, most: int, ranked: int) -> Any:
        return op.NonMaxSuppression(boxes, scores, most, threshold, least)

    return {torch.ops.demitasse.suppress.default: non_max_suppression}


def suppress_in_pairs(boxes: Tensor, scores: Tensor, threshold: float, least: float, most: int, ranked: int) -> Tensor:
    """Returns the same as :func:`suppress`, by operations that every torch has.

    A box is dropped if it overlaps a better one that is kept. From all boxes on, this is applied until nothing changes.

    Raises:
        ExportError: there are too many boxes to compare all pairs at once.

    Reference: Zheng et al. 2020 (arXiv 2005.03572), section 4.1, "Cluster-NMS".
    """
    if scores.shape[1] * ranked**2 > _MOST_PAIRS:
        raise ExportError(
            f"{scores.shape[1]} classes of {ranked:,} boxes have too many pairs to compare at once; set top_k"
        )
    order = scores.sort(dim=-1, descending=True, stable=True).indices[..., :ranked]
    corners = boxes[:, None].expand(-1, scores.shape[1], -1, -1)
    corners = corners.gather(2, order[..., None].expand(-1, -1, -1, 4))
    one, other = corners[..., None, :], corners[..., None, :, :]
    sides = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp(min=0)
    common = sides.prod(-1)
    area = (corners[..., 2:] - corners[..., :2]).clamp(min=0).prod(-1)
    overlap = torch.where(common > 0, common / (area[..., None] + area[..., None, :] - common), 0)
    is_dropped_by = (overlap > threshold).tril(-1)
    is_found = scores.gather(2, order) > least

    def go_on(kept: Tensor, changed: Tensor) -> Tensor:
        return changed.clone()

    def apply(kept: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
        left = is_found & ~(is_dropped_by & kept[..., None, :]).any(-1)
        return left, (left != kept).any()

    kept, _ = while_loop(  # type: ignore[no-untyped-call]
        go_on, apply, (is_found.clone(), torch.ones((), dtype=torch.bool))
    )
    places = (kept & (kept.cumsum(-1) <= most)).nonzero()
    batch, label, rank = places.unbind(1)
    return torch.stack([batch, label, order[batch, label, rank]], 1)
