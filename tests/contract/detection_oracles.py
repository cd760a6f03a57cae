"""What the layers of detectors and segmenters compute, written from the papers in NumPy, one box or entry at a time.

Each function takes the bottoms, then the blobs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.contract.oracles import Array, sigmoid, softmax

Box = Sequence[float]


def overlap(a: Box, b: Box, pixel: float = 0) -> float:
    """The Jaccard index of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0
    areas = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


def kept(boxes: Sequence[Box], threshold: float, eta: float = 1, pixel: float = 0) -> list[int]:
    """Greedy non-maximum suppression of boxes, the best first."""
    found: list[int] = []
    for index, box in enumerate(boxes):
        if all(overlap(box, boxes[other], pixel) <= threshold for other in found):
            found.append(index)
            if threshold > 0.5:
                threshold *= eta
    return found


def decoded(offset: Box, prior: Box, variance: Box, code: str) -> list[float]:
    """Equation 2 of the SSD paper, the other way round."""
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    t = [o * v for o, v in zip(offset, variance, strict=True)]
    if code == "CORNER":
        return [p + o for p, o in zip(prior, t, strict=True)]
    if code == "CORNER_SIZE":
        return [p + o * size for p, o, size in zip(prior, t, [width, height, width, height], strict=True)]
    x, y = (prior[0] + prior[2]) / 2 + t[0] * width, (prior[1] + prior[3]) / 2 + t[1] * height
    w, h = width * math.exp(t[2]), height * math.exp(t[3])
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def detections(
    offsets: Array, scores: Array, priors: Array, classes: int, code: str, least: float, threshold: float,
    top_k: int, keep: int, eta: float = 1, background: int = 0, shared: bool = True, encoded: bool = False,
    first: tuple[Array, Array] | None = None, objectness: float = 0,
) -> Array:  # fmt: skip
    rows = []
    count = priors.shape[2] // 4
    for item in range(len(offsets)):
        corners, variances = priors.reshape(2, count, 4)
        if first is not None:  # RefineDet
            objects, moves = first[0][item].reshape(count, 2), first[1][item].reshape(count, 4)
            corners = np.array([decoded(moves[p], corners[p], variances[p], code) for p in range(count)])
            scores[item].reshape(count, classes)[objects[:, 1] < objectness] = np.eye(classes)[background]
        found = []
        for label in (label for label in range(classes) if label != background):
            ranked = []
            for p in range(count):
                offset = offsets[item].reshape(count, -1, 4)[p, 0 if shared else label]
                variance = np.ones(4) if encoded else variances[p]
                box = decoded(offset, corners[p], variance, code)
                ranked.append((scores[item].reshape(count, classes)[p, label], box))
            ranked = sorted((each for each in ranked if each[0] > least), key=lambda each: -each[0])[:top_k]
            boxes = [box for _, box in ranked]
            found += [[item, label, ranked[i][0], *boxes[i]] for i in kept(boxes, threshold, eta)]
        best = sorted(found, key=lambda row: -row[2])[:keep]
        rows += [row for row in found if row in best]
    return np.array(rows)[None, None]


def default_boxes(
    plane: tuple[int, int], image: tuple[int, int], least: Sequence[int], most: Sequence[int], ratios: Sequence[float],
    step: tuple[float, float], variance: Sequence[float], offset: float = 0.5, clip: bool = False,
) -> Array:  # fmt: skip
    """Section 2.2 of the SSD paper, "Choosing scales and aspect ratios for default boxes"."""
    boxes = []
    for y in range(plane[0]):
        for x in range(plane[1]):
            for index, size in enumerate(least):
                shapes = [(size, size)]
                if most:
                    shapes.append((math.sqrt(size * most[index]),) * 2)
                shapes += [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios]
                for width, height in shapes:
                    cx, cy = (x + offset) * step[1], (y + offset) * step[0]
                    box = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
                    boxes += [corner / image[1 - axis % 2] for axis, corner in enumerate(box)]
    corners = np.clip(boxes, 0, 1) if clip else np.array(boxes)
    return np.stack([corners, np.tile(variance, len(boxes) // 4)])[None]


def yolo(planes: Sequence[Array], anchors: Sequence[Sequence[Box]], cells: Sequence[int], classes: int,
         least: float, threshold: float, exclusive: bool) -> Array:  # fmt: skip
    """Figure 3 of the YOLO9000 paper, and section 2.2 of YOLOv3: classes exclude each other, or do not."""
    rows = []
    for item in range(len(planes[0])):
        ranked = []
        for plane, sides, cell in zip(planes, anchors, cells, strict=True):
            _, _, height, width = plane.shape
            parts = plane[item].reshape(len(sides), 5 + classes, height, width)
            for y, x, index in np.ndindex(height, width, len(sides)):
                t = parts[index, :, y, x]
                chances = softmax(t[None, 5:])[0] if exclusive else sigmoid(t[5:])
                score = sigmoid(t[4]) * chances.max()
                cx, cy = (x + sigmoid(t[0])) / width, (y + sigmoid(t[1])) / height
                w = sides[index][0] * math.exp(t[2]) / (width * cell)
                h = sides[index][1] * math.exp(t[3]) / (height * cell)
                ranked.append((score, int(chances.argmax()) + 1, [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]))
        ranked = sorted((each for each in ranked if each[0] > least), key=lambda each: -each[0])
        boxes = [box for *_, box in ranked]
        rows += [[item, ranked[i][1], ranked[i][0], *boxes[i]] for i in kept(boxes, threshold)]
    return np.array(rows)[None, None]


def proposals(scores: Array, offsets: Array, image: Array, stride: int, ratios: Sequence[float],
              scales: Sequence[float], least: int, before: int, after: int,
              threshold: float) -> tuple[Array, Array]:  # fmt: skip
    """Section 3.1 of the Faster R-CNN paper."""
    regions, found = [], []
    sides = [(round(math.sqrt(256 / ratio)), scale, ratio) for ratio in ratios for scale in scales]
    for item in range(len(scores)):
        height, width, factor = image[min(item, len(image) - 1)][:3]
        ranked = []
        for y, x, a in np.ndindex(*scores.shape[2:], len(sides)):
            side, scale, ratio = sides[a]
            w, h = side * scale, round(side * ratio) * scale
            cx, cy = x * stride + 7.5 + 0.5, y * stride + 7.5 + 0.5
            t = offsets[item, 4 * a : 4 * a + 4, y, x]
            cx, cy, w, h = cx + t[0] * w, cy + t[1] * h, w * math.exp(t[2]), h * math.exp(t[3])
            box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
            box = [min(max(c, 0), (width, height)[axis % 2] - 1) for axis, c in enumerate(box)]
            if min(box[2] - box[0], box[3] - box[1]) + 1 >= least * factor:
                ranked.append((scores[item, len(sides) + a, y, x], box))
        ranked = sorted(ranked, key=lambda each: -each[0])[:before]
        for i in kept([box for _, box in ranked], threshold, pixel=1)[:after]:
            regions.append([item, *ranked[i][1]])
            found.append([ranked[i][0]])
    return np.array(regions), np.array(found)


def region_maxima(features: Array, regions: Array, pooled: tuple[int, int], scale: float) -> Array:
    top = np.zeros((len(regions), features.shape[1], *pooled))
    for r, c, i, j in np.ndindex(top.shape):
        item, *corners = regions[r]
        x0, y0, x1, y1 = (math.floor(corner * scale + 0.5) for corner in corners)
        h, w = max(y1 - y0 + 1, 1) / pooled[0], max(x1 - x0 + 1, 1) / pooled[1]
        rows = range(max(y0 + math.floor(i * h), 0), min(y0 + math.ceil((i + 1) * h), features.shape[2]))
        columns = range(max(x0 + math.floor(j * w), 0), min(x0 + math.ceil((j + 1) * w), features.shape[3]))
        top[r, c, i, j] = max((features[int(item), c, y, x] for y in rows for x in columns), default=0)
    return top


def region_means(features: Array, regions: Array, outputs: int, group: int, scale: float) -> Array:
    top = np.zeros((len(regions), outputs, group, group))
    for r, c, i, j in np.ndindex(top.shape):
        item, x0, y0, x1, y1 = (math.floor(value + 0.5) for value in regions[r])
        h, w = max((y1 + 1 - y0) * scale, 0.1) / group, max((x1 + 1 - x0) * scale, 0.1) / group
        rows = range(
            max(math.floor(y0 * scale + i * h), 0), min(math.ceil(y0 * scale + (i + 1) * h), features.shape[2])
        )
        columns = range(
            max(math.floor(x0 * scale + j * w), 0), min(math.ceil(x0 * scale + (j + 1) * w), features.shape[3])
        )
        values = [features[item, (c * group + i) * group + j, y, x] for y in rows for x in columns]
        top[r, c, i, j] = np.mean(values) if values else 0
    return top


def resized(x: Array, height: int, width: int) -> Array:
    """Bilinear interpolation, in which corners stay corners."""
    top = np.zeros((*x.shape[:2], height, width))
    for i, j in np.ndindex(height, width):
        y = i * (x.shape[2] - 1) / (height - 1) if height > 1 else 0
        z = j * (x.shape[3] - 1) / (width - 1) if width > 1 else 0
        y0, z0 = min(int(y + 1e-9), x.shape[2] - 1), min(int(z + 1e-9), x.shape[3] - 1)
        y1, z1 = min(y0 + 1, x.shape[2] - 1), min(z0 + 1, x.shape[3] - 1)
        top[:, :, i, j] = (1 - y + y0) * ((1 - z + z0) * x[:, :, y0, z0] + (z - z0) * x[:, :, y0, z1]) + (y - y0) * (
            (1 - z + z0) * x[:, :, y1, z0] + (z - z0) * x[:, :, y1, z1]
        )
    return top


def unpooled(x: Array, mask: Array, height: int, width: int) -> Array:
    top = np.zeros((*x.shape[:2], height * width))
    for n, c, i, j in np.ndindex(x.shape):
        top[n, c, int(mask[n, c, i, j])] = x[n, c, i, j]
    return top.reshape(*x.shape[:2], height, width)


def reorganized(x: Array, stride: int, reverse: bool) -> Array:
    """Darknet's numbering of entries, index by index."""
    n, c, h, w = x.shape
    few, top = c // stride**2, np.zeros(x.size)
    for b, k, j, i in np.ndindex(n, c, h, w):
        near = i + w * (j + h * (k + c * b))
        row, column = divmod(k // few, stride)
        far = i * stride + column + w * stride * (j * stride + row + h * stride * (k % few + few * b))
        source, target = (near, far) if reverse else (far, near)
        top[target] = x.flat[source]
    return top.reshape((n, few, h * stride, w * stride) if reverse else (n, c * stride**2, h // stride, w // stride))


def depthwise(x: Array, weight: Array, bias: Array) -> Array:
    size = weight.shape[2]
    shape = (x.shape[2] - size + 1, x.shape[3] - size + 1)
    top = np.zeros((*x.shape[:2], *shape))
    for c, i, j in np.ndindex(x.shape[1], *shape):
        top[:, c, i, j] = (x[:, c, i : i + size, j : j + size] * weight[c, 0]).sum((1, 2)) + bias[c]
    return top


def normalized(x: Array, weight: Array, across: bool) -> Array:
    norm = np.sqrt((x**2).sum((1, 2, 3) if across else 1, keepdims=True) + 1e-10)
    return x / norm * weight.reshape(1, -1, 1, 1)


def bn(x: Array, weight: Array, bias: Array, *rest: Array, eps: float, statistics: bool = False) -> tuple[Array, ...]:
    mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    top = (x - mean) / np.sqrt(variance + eps) * weight + bias
    return (top, mean, variance) if statistics else (top,)


def smooth_l1(a: Array, b: Array, *weights: Array, sigma: float = 1) -> Array:
    inside, outside = weights or (np.ones_like(a), np.ones_like(a))
    total = 0.0
    for x, w in zip((inside * (a - b)).flat, outside.flat, strict=True):
        square = 0.5 * (sigma * x) ** 2
        total += w * (square if abs(x) < 1 / sigma**2 else abs(x) - 0.5 / sigma**2)
    return np.array(total / len(a))


def segmentation(scores: Array, labels: Array, ignored: int) -> Array:
    pairs = [
        (int(label), max(range(scores.shape[1]), key=lambda c: (scores[n, c, y, x], c)))
        for (n, _, y, x), label in np.ndenumerate(labels)
        if label != ignored
    ]
    recalls, jaccards = [], []
    for c in range(scores.shape[1]):
        both = sum(pair == (c, c) for pair in pairs)
        labelled, chosen = (sum(pair[i] == c for pair in pairs) for i in (0, 1))
        recalls += [both / labelled] if labelled else []
        union = labelled + chosen - both
        jaccards.append(both / union if union else 1)
    correct = sum(a == b for a, b in pairs) / max(len(pairs), 1)
    return np.array([correct, np.mean(recalls), np.mean(jaccards)]).reshape(1, 1, 1, 3)
