"""How an SSD writes the place of a box: by its offset from a default box."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from demitasse.caffe import schema


class BoxCode(NamedTuple):
    """A code of boxes.

    CORNER is the difference of the corners; CORNER_SIZE divides it by width and height of the default box; CENTER_SIZE
    has the difference of the centres, divided in the same way, and the logarithms of the ratios of widths and heights.

    Attributes:
        kind: ``CORNER``, ``CENTER_SIZE`` or ``CORNER_SIZE``.
        varied: whether offsets are divided by the variances of the default boxes.
        pixel: is added to widths and heights: 1 where corners are the numbers of pixels.

    Reference: Liu et al. 2016 (SSD), equation 2.
    """

    kind: str
    varied: bool = True
    pixel: float = 0.0

    @classmethod
    def named(cls, number: int, varied: bool, pixel: float = 0.0) -> BoxCode:
        """Returns the code with the number of a PriorBoxParameter.CodeType."""
        return cls(schema.PriorBoxParameter.CodeType.Name(number), varied, pixel)

    def encode(self, boxes: Tensor, priors: Tensor) -> Tensor:
        """Returns the offsets of boxes.

        Args:
            boxes: (..., 4), corners xmin, ymin, xmax, ymax.
            priors: (2, ..., 4), corners and variances of their default boxes.
        """
        corners = priors[0]
        size = self._size(corners)
        if self.kind == "CENTER_SIZE":
            moved = (_middle(boxes) - _middle(corners)) / size
            offsets = torch.cat([moved, (self._size(boxes) / size).log()], -1)
        else:
            offsets = boxes - corners
            if self.kind == "CORNER_SIZE":
                offsets = offsets / torch.cat([size, size], -1)
        return offsets / priors[1] if self.varied else offsets

    def decode(self, offsets: Tensor, priors: Tensor) -> Tensor:
        """Returns the corners of boxes, (..., 4).

        Args:
            offsets: (..., 4).
            priors: (2, ..., 4), corners and variances of their default boxes; without ``varied``, variances may miss.
        """
        corners = priors[0]
        size = self._size(corners)
        moved = offsets * priors[1] if self.varied else offsets
        if self.kind == "CORNER":
            return corners + moved
        if self.kind == "CORNER_SIZE":
            return corners + moved * torch.cat([size, size], -1)
        middle = moved[..., :2] * size + corners[..., :2] + size / 2
        half = moved[..., 2:].exp() * size / 2
        return torch.cat([middle - half, middle + half], -1)

    def _size(self, boxes: Tensor) -> Tensor:
        """Returns widths and heights, (..., 2)."""
        size = boxes[..., 2:] - boxes[..., :2]
        return size + self.pixel if self.pixel else size


def _middle(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
