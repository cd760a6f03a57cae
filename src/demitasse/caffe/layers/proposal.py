"""Proposal: the regions that Faster R-CNN looks at, also as py-faster-rcnn's layer in Python and FrcnnProposal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape
from demitasse.caffe.layers.boxes import Floats, suppress
from demitasse.errors import NetError

_RATIOS, _SCALES = (0.5, 1.0, 2.0), (8.0, 16.0, 32.0)
# the entries of param_str: numbers, and tuples of numbers
_NUMBER = r"""['"]?%s['"]?\s*:\s*(\d{1,6})"""
_TUPLE = r"""['"]?%s['"]?\s*:[^\[(]*[\[(]\s*(\d+(?:\.\d+)?(?:\s*,\s*\d+(?:\.\d+)?)*)\s*,?\s*[\])]"""
_TRAINING = schema.ProposalParameter(pre_nms_topn=12000, post_nms_topn=2000)  # py-faster-rcnn's in phase TRAIN


@LAYERS.register("Proposal")
class RegionProposal(Layer):
    """Regions of interest, (found, 5): item, xmin, ymin, xmax, ymax in pixels; the second top has their scores.

    Bottoms: scores (n, 2 anchors, h, w), those of the background first; offsets (n, 4 anchors, h, w); and (n, 3) or
    (n, 4), height, width and scale of the images, all rows alike or one row. The anchors, ``base_size`` times each
    ``scale``, with each ``ratio`` of height and width, lie at every ``feat_stride`` pixels. They are moved by the
    offsets and clipped to the image; those smaller than ``min_size`` times the image's scale are dropped; the first
    ``pre_nms_topn`` go through a non-maximum suppression, of which ``post_nms_topn`` are taken.

    The number of regions differs from batch to batch; the net is built for the largest. No gradient goes through.

    Reference: Ren, He, Girshick, Sun 2015, section 3.1 and equation 2.
    """

    bottom_count = (3, 3)
    top_count = (1, 2)
    without_gradient = (0, 1, 2)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = _settings(self.spec)
        self.stride, self.base, self.min_size = settings.feat_stride, settings.base_size, settings.min_size
        self.before, self.after = settings.pre_nms_topn, settings.post_nms_topn
        self.threshold = settings.nms_thresh
        if not (self.stride and self.base):
            raise NetError(f"feat_stride is {self.stride} and base_size {self.base}; expected positive numbers")
        self.anchors = _anchors(self.base, list(settings.ratio) or _RATIOS, list(settings.scale) or _SCALES)
        scores, offsets, image = shapes
        count, plane = len(self.anchors), scores[2:]
        fits = len(plane) == 2 and scores[1:] == (2 * count, *plane) and offsets == (scores[0], 4 * count, *plane)
        if not fits or len(image) < 2 or image[1] < 3 or image[0] not in (1, scores[0]):
            raise NetError(
                f"found bottoms of shapes {[list(shape) for shape in shapes]}; expected (n, {2 * count}, h, w), "
                f"(n, {4 * count}, h, w) and (n, 3) for {count} anchors"
            )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        most = shapes[0][0] * min(self.after or self.before, self.before or self.after)
        tops: list[Shape] = [(most, 5), (most, 1)]
        return tops[: len(self.spec.top)]

    def candidates(self, scores: Tensor, offsets: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the corners of all boxes, (n, boxes, 4), and their scores, (n, boxes); -inf of those too small."""
        count, (height, width) = len(self.anchors), scores.shape[2:]
        ranks = scores[:, count:].permute(0, 2, 3, 1).flatten(1)
        moves = offsets.permute(0, 2, 3, 1).reshape(offsets.shape[0], count * height * width, 4)
        rows, columns = torch.arange(height) * self.stride, torch.arange(width) * self.stride
        x, y = torch.meshgrid(columns, rows, indexing="xy")
        shifts = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4).to(scores)
        boxes = _moved((shifts + scores.new_tensor(self.anchors)).reshape(-1, 4), moves)
        sizes = image.flatten(1)[:, None]
        ends = torch.cat([sizes[..., 1:2], sizes[..., :1]], -1) - 1
        boxes = torch.minimum(boxes, torch.cat([ends, ends], -1)).clamp(min=0)
        fits = (boxes[..., 2:] - boxes[..., :2] + 1 >= self.min_size * sizes[..., 2:3]).all(-1)
        return boxes, torch.where(fits, ranks, -math.inf)

    @torch.no_grad()
    @override
    def forward(self, scores: Tensor, offsets: Tensor, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        boxes, ranks = self.candidates(*(bottom.detach().double() for bottom in (scores, offsets, image)))
        regions: list[Floats] = [np.zeros((0, 5))]
        found: list[Floats] = [np.zeros(0)]
        for item, parts in enumerate(zip(boxes.cpu().numpy(), ranks.cpu().numpy(), strict=True)):
            kept, best = self._item(*parts)
            regions.append(np.concatenate([np.full((len(kept), 1), item), kept], 1))
            found.append(best)
        tops = torch.from_numpy(np.concatenate(regions)).to(scores), torch.from_numpy(np.concatenate(found)).to(scores)
        return tops[0] if len(self.spec.top) == 1 else (tops[0], tops[1][:, None])

    def _item(self, boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
        """Returns the boxes of an item that are kept, the best first, and their scores."""
        places = np.flatnonzero(scores > -np.inf)
        order = places[np.argsort(-scores[places], kind="stable")][: self.before or None]
        most, place = self.after or None, f"layer {self.spec.name!r}"
        kept = order[suppress(boxes[order], self.threshold, most, pixel=1, place=place)]
        return boxes[kept], scores[kept]


@LAYERS.register("FrcnnProposal")
class FrcnnProposal(RegionProposal):
    """Proposal of Faster R-CNN in C++, whose settings are in a file beside the net; here in a ``proposal_param``."""

    def __init__(self, spec: schema.LayerParameter) -> None:
        if not spec.HasField("proposal_param"):
            raise NetError(
                "the settings of FrcnnProposal are in a file beside the net, which is not read; give the layer a "
                "proposal_param { feat_stride: 16 scale: 8 scale: 16 scale: 32 ... }"
            )
        super().__init__(spec)


def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Returns boxes moved and resized by offsets: of the centre in widths and heights, and logarithms of factors."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    centre = offsets[..., :2] * size + boxes[:, :2] + size / 2
    half = offsets[..., 2:].exp() * size / 2
    return torch.cat([centre - half, centre + half], -1)


def _anchors(base: int, ratios: Sequence[float], scales: Sequence[float]) -> list[list[float]]:
    """Returns the anchors around the first position, (ratios * scales, 4), of scaled sides in whole pixels."""
    found, middle = [], (base - 1) / 2
    for ratio in ratios:
        if not 0 < ratio < math.inf:
            raise NetError(f"ratio is {ratio:g}; expected a positive number")
        width = round(math.sqrt(base * base / ratio))
        for scale in scales:
            half = (width * scale - 1) / 2, (round(width * ratio) * scale - 1) / 2
            found.append([middle - half[0], middle - half[1], middle + half[0], middle + half[1]])
    return found


def _settings(spec: schema.LayerParameter) -> schema.ProposalParameter:
    """Returns the settings of a layer; those of a layer in Python are in its ``param_str``, a dictionary in YAML."""
    if spec.type != "Python":
        return spec.proposal_param
    settings = schema.ProposalParameter()
    if spec.phase == schema.TRAIN:
        settings.CopyFrom(_TRAINING)
    given = spec.python_param.param_str
    stride, base = (re.search(_NUMBER % name, given) for name in ("feat_stride", "base_size"))
    scales, ratios = (re.search(_TUPLE % name, given) for name in ("scales", "ratios"))
    found = {"base_size": base, "scales": scales, "ratios": ratios}
    if stride is None or any(name in given and match is None for name, match in found.items()):
        raise NetError(
            f"param_str is {given!r}; expected \"'feat_stride': 16\", and optionally 'base_size': 16, "
            "'scales': [8, 16, 32] and 'ratios': [0.5, 1, 2]"
        )
    settings.feat_stride = int(stride[1])
    if base is not None:
        settings.base_size = int(base[1])
    for field, match in ((settings.scale, scales), (settings.ratio, ratios)):
        field.extend(map(float, match[1].split(",")) if match is not None else ())
    return settings
