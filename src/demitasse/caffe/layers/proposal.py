"""Proposal: the regions that Faster R-CNN looks at, also as py-faster-rcnn's layer in Python."""

from __future__ import annotations

import ast
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
_TRAINING = schema.ProposalParameter(pre_nms_topn=12000, post_nms_topn=2000)  # py-faster-rcnn's in phase TRAIN


@LAYERS.register("Proposal")
class Proposal(Layer):
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

    @torch.no_grad()
    @override
    def forward(self, scores: Tensor, offsets: Tensor, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        count = len(self.anchors)
        ranked = scores[:, count:].permute(0, 2, 3, 1).flatten(1).double().detach().cpu().numpy()
        moved = offsets.permute(0, 2, 3, 1).reshape(len(offsets), -1, 4).double().detach().cpu().numpy()
        sizes = image.flatten(1).double().detach().cpu().numpy()
        plane = scores.shape[2:]
        regions, found = [], []
        for item in range(len(ranked)):
            boxes, best = self._item(moved[item], ranked[item], sizes[min(item, len(sizes) - 1)], plane)
            regions.append(np.concatenate([np.full((len(boxes), 1), item), boxes], 1))
            found.append(best)
        tops = torch.from_numpy(np.concatenate(regions)).to(scores), torch.from_numpy(np.concatenate(found)).to(scores)
        return tops[0] if len(self.spec.top) == 1 else (tops[0], tops[1][:, None])

    def _item(self, offsets: Floats, scores: Floats, image: Floats, plane: Sequence[int]) -> tuple[Floats, Floats]:
        """Returns the boxes of an item, the best first, and their scores."""
        height, width, scale = image[0], image[1], image[2]
        y, x = np.meshgrid(np.arange(plane[0]) * self.stride, np.arange(plane[1]) * self.stride, indexing="ij")
        shifts = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        with np.errstate(over="ignore", invalid="ignore"):
            boxes = _moved((shifts + self.anchors).reshape(-1, 4), offsets)
        boxes = np.maximum(np.minimum(boxes, np.array([width, height, width, height]) - 1), 0)
        sides = boxes[:, 2:] - boxes[:, :2] + 1
        places = np.flatnonzero((sides >= self.min_size * scale).all(-1) & ~np.isnan(scores))
        order = places[np.argsort(-scores[places], kind="stable")][: self.before or None]
        kept = order[
            suppress(boxes[order], self.threshold, self.after or None, pixel=1, place=f"layer {self.spec.name!r}")
        ]
        return boxes[kept], scores[kept]


def _moved(boxes: Floats, offsets: Floats) -> Floats:
    """Returns boxes moved and resized by offsets: of the centre in widths and heights, and logarithms of factors."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    centre = offsets[:, :2] * size + boxes[:, :2] + size / 2
    half = np.exp(offsets[:, 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], 1)


def _anchors(base: int, ratios: Sequence[float], scales: Sequence[float]) -> Floats:
    """Returns the anchors around the first position, (ratios * scales, 4), of scaled sides in whole pixels."""
    found = []
    for ratio in ratios:
        if not ratio > 0:
            raise NetError(f"ratio is {ratio:g}; expected a positive number")
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = np.array([width * scale - 1, height * scale - 1]) / 2
            found.append(np.concatenate([(base - 1) / 2 - half, (base - 1) / 2 + half]))
    return np.array(found)


def is_builtin(spec: schema.LayerParameter) -> bool:
    """Tells whether a layer in Python is py-faster-rcnn's proposal layer."""
    return (spec.python_param.module, spec.python_param.layer) == ("rpn.proposal_layer", "ProposalLayer")


def _settings(spec: schema.LayerParameter) -> schema.ProposalParameter:
    """Returns the settings of a layer; those of a layer in Python are in its ``param_str``, a dictionary in YAML."""
    if spec.type != "Python":
        return spec.proposal_param
    settings = schema.ProposalParameter()
    if spec.phase == schema.TRAIN:
        settings.CopyFrom(_TRAINING)
    try:
        given = ast.literal_eval("{" + spec.python_param.param_str.strip().strip("{}") + "}")
        settings.feat_stride = int(given["feat_stride"])
        settings.scale.extend(map(float, given.get("scales", ())))
    except (SyntaxError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise NetError(
            f"param_str is {spec.python_param.param_str!r}; expected \"'feat_stride': 16\", and optionally 'scales'"
        ) from error
    return settings
