"""The proposal layer of CTPN, which finds lines of text."""

from __future__ import annotations

import re

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import Layer, Shape
from demitasse.errors import NetError

_WIDTH = 16  # pixels, of all anchors
_HEIGHTS = (11, 16, 23, 33, 48, 68, 97, 139, 198, 283)
_STRIDE = re.compile(r"""['"]?feat_stride['"]?\s*:\s*(\d{1,6})""")


class TextProposals(Layer):
    """Boxes of the width of a position and of a height that the net finds, (boxes, 4), and their scores, (boxes, 1).

    Bottoms: scores (1, 20, h, w), those of the background first; offsets (1, 20, h, w), of the centre in heights and
    the logarithm of the factor of the height; height and width of the image, (1, 2) or more. Each position has ten
    anchors; no box is dropped. It is CTPN's layer in Python, ``layers.text_proposal_layer``; no type has its name.

    Reference: Tian, Huang, He, He, Qiao 2016 (arXiv 1609.03605), section 3.1.
    """

    bottom_count = (3, 3)
    top_count = (2, 2)
    without_gradient = (0, 1, 2)

    @override
    def setup(self, *shapes: Shape) -> None:
        given, count = self.spec.python_param.param_str, len(_HEIGHTS)
        stride = _STRIDE.search(given)
        if stride is None:
            raise NetError(f"param_str is {given!r}; expected \"'feat_stride': 16\"")
        scores, offsets, image = shapes
        if len(scores) != 4 or scores[:2] != (1, 2 * count) or offsets != scores or image[0] != 1 or image[1:] < (2,):
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; "
                f"expected twice (1, {2 * count}, h, w), and (1, 3)"
            )
        self.stride = int(stride[1])
        middle = (_WIDTH - 1) / 2
        # CTPN's whole numbers: halves of heights are rounded down, corners towards zero
        self.anchors = [[int(middle - height // 2), int(middle + height // 2)] for height in _HEIGHTS]

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        count = len(_HEIGHTS) * shapes[0][2] * shapes[0][3]
        return [(count, 4), (count, 1)]

    @torch.no_grad()
    @override
    def forward(self, scores: Tensor, offsets: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = scores.shape[2:]
        rows = torch.arange(height, device=scores.device)[:, None, None] * self.stride
        columns = torch.arange(width, device=scores.device)[:, None] * self.stride
        anchors = scores.new_tensor(self.anchors)
        first, last = anchors[:, 0] + rows, anchors[:, 1] + rows  # (h, 1, anchors)
        moves = offsets[0].reshape(-1, 2, height, width).permute(2, 3, 0, 1)  # (h, w, anchors, 2)
        size = last - first + 1
        sizes = moves[..., 1].exp() * size
        top = moves[..., 0] * size + (first + last) / 2 - sizes / 2
        left = (columns + torch.zeros_like(top, dtype=columns.dtype)).to(top)
        edges = image.flatten(1)[0, [1, 0, 1, 0]] - 1
        boxes = torch.stack([left, top, left + _WIDTH - 1, top + sizes], -1).reshape(-1, 4)
        found = scores[0, len(_HEIGHTS) :].permute(1, 2, 0).reshape(-1, 1)
        return torch.minimum(boxes, edges).clamp(min=0), found
