"""ClusterDetections: the boxes that a DetectNet finds, from the boxes of the cells of a grid."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import Layer, Shape
from demitasse.caffe.layers.boxes import Floats
from demitasse.errors import NetError

_MOST = 50  # boxes of a class in an image
_SIZES = 7  # numbers in param_str without the number of classes
_FEW = 3  # a cluster of this number of boxes, or more, stays inside a larger one
Integers = NDArray[np.int64]


class GridClusters(Layer):
    """DetectNet's layer in Python, ``ClusterDetections``: for each class the clusters of boxes, (n, 50, 5).

    Bottoms: how sure each cell is of each class, (n, classes, rows, columns), and the corners of its box relative to
    the cell, (n, 4, rows, columns). Boxes of cells that are sure enough are grouped; a row has the corners of the mean
    of a group and the logarithm of its number of boxes, as halves; then come zeros. ``param_str`` has width and height
    of the image, the size of a cell, how sure a cell must be, the number of boxes that a group must exceed, how far
    its boxes may differ in shares of their sizes, the least height, and the number of classes, 1 unless it is given.

    Reference: Barker, Sarathy, Tao 2016 (DetectNet); OpenCV's ``groupRectangles``, whose rectangles have the second
    corner in place of width and height here.
    """

    bottom_count = (2, 2)
    top_count = (1, None)
    without_gradient = (0, 1)

    @override
    def setup(self, *shapes: Shape) -> None:
        given = self.spec.python_param.param_str
        try:
            numbers = [float(each) for each in given.split(",")]
        except ValueError:
            numbers = []
        sizes = [*numbers[:3], *numbers[_SIZES:]]
        if len(numbers) not in (_SIZES, _SIZES + 1) or not all(each >= 1 and each.is_integer() for each in sizes):
            raise NetError(
                f"param_str is {given!r}; expected width, height, stride, coverage, boxes, eps, least height and "
                "perhaps classes: '1248,352,16,0.05,1,0.025,22,2'"
            )
        width, height, stride = map(int, numbers[:3])
        self.sure, self.votes, self.eps, self.least = numbers[3:_SIZES]
        self.grid = height // stride, width // stride
        self.classes = int(numbers[_SIZES]) if len(numbers) > _SIZES else 1
        if min(self.grid) < 1:
            raise NetError(f"the image is {height} by {width} and a cell {stride}; expected at least one cell")
        self.cell = height // self.grid[0], width // self.grid[1]
        coverage, boxes = shapes
        fits = len(coverage) == 4 and boxes == (coverage[0], 4, *coverage[2:]) and coverage[1] == self.classes
        if not fits or len(self.spec.top) != self.classes:
            raise NetError(
                f"found bottoms of shapes {list(coverage)} and {list(boxes)} and {len(self.spec.top)} tops; expected "
                f"(n, {self.classes}, rows, columns) and (n, 4, rows, columns), and a top for each class"
            )

    @override
    def top_shapes(self, *shapes: Shape) -> list[Shape]:
        return [(shapes[0][0], _MOST, 5)] * self.classes

    @torch.no_grad()
    @override
    def forward(self, coverage: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        rows, columns = self.grid
        sure = coverage[:, :, :rows, :columns].double().cpu().numpy()
        corners = boxes[:, :, :rows, :columns].double().cpu().numpy()
        found = np.zeros((self.classes, coverage.shape[0], _MOST, 5))
        for item, (each, places) in enumerate(zip(sure, corners, strict=True)):
            for kind, plane in enumerate(each):
                y, x = np.nonzero(plane >= self.sure)
                moved = places[:, y, x].T + np.stack([x * self.cell[1], y * self.cell[0]] * 2, 1)
                groups = self._groups(moved)[:_MOST]
                found[kind, item, : len(groups)] = groups
        return tuple(torch.from_numpy(each.astype(np.float16)).to(coverage) for each in found)

    def _groups(self, boxes: Floats) -> Floats:
        """Returns corners and logarithm of the number of boxes of each group, (groups, 5)."""
        if not boxes.any():
            return np.zeros((0, 5))
        means, counts = grouped(np.trunc(boxes).astype(np.int64), self.votes, self.eps)
        high = means[:, 3] - means[:, 1] >= self.least
        return np.concatenate([means[high], np.log(counts[high])[:, None]], 1)


def grouped(boxes: Integers, votes: float, eps: float) -> tuple[Integers, Integers]:
    """Returns the means of groups of similar boxes, and the number of boxes of each.

    Args:
        boxes: (n, 4), x, y, width and height.
        votes: groups of this number of boxes, or fewer, are left out; with 0, no box is grouped.
        eps: how far sides may be apart, in the mean of the smaller width and height.
    """
    if votes <= 0 or not len(boxes):
        return boxes, np.ones(len(boxes), np.int64)
    width, height = boxes[:, 2], boxes[:, 3]
    limit = eps * (np.minimum.outer(width, width) + np.minimum.outer(height, height)) * 0.5
    sides = (*boxes[:, :2].T, *(boxes[:, :2] + boxes[:, 2:]).T)
    group = _components(np.logical_and.reduce([np.abs(np.subtract.outer(side, side)) <= limit for side in sides]))
    counts = np.bincount(group)
    sums = np.zeros((len(counts), 4))
    np.add.at(sums, group, boxes)
    means = np.rint(sums / counts[:, None]).astype(np.int64)
    large = counts > votes
    means, counts = means[large], counts[large]
    inside = [any(_is_inside(means, counts, i, j, eps) for j in range(len(means)) if i != j) for i in range(len(means))]
    return means[~np.array(inside, bool)], counts[~np.array(inside, bool)]


def _components(alike: NDArray[np.bool_]) -> Integers:
    """Returns the number of the connected component of each box, in the order of their first boxes."""
    found = np.full(len(alike), -1)
    count = 0
    for first in range(len(alike)):
        reached = np.zeros(len(alike), bool)
        border = np.array([first] if found[first] < 0 else [], np.int64)
        while len(border):
            reached[border] = True
            border = np.flatnonzero(alike[border].any(0) & ~reached)
        found[reached] = count
        count += bool(reached.any())
    return found


def _is_inside(means: Integers, counts: Integers, one: int, other: int, eps: float) -> bool:
    """Returns whether a group lies in a larger one, which has it for a part."""
    (x, y, width, height), (left, top, wide, high) = means[one].tolist(), means[other].tolist()
    dx, dy = round(wide * eps), round(high * eps)
    within = x >= left - dx and y >= top - dy
    within = within and x + width <= left + wide + dx and y + height <= top + high + dy
    return bool(within and (counts[other] > max(_FEW, counts[one]) or counts[one] < _FEW))
