"""What DeconvNet's, OpenPose's, CRF-RNN's and other layers compute, in NumPy, one entry at a time.

Each function takes the bottoms, then the blobs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.contract.detection_oracles import kept, overlap
from tests.contract.oracles import Array, sigmoid, softmax


def spread(x: Array, plane: tuple[int, int], kernel: int, stride: int, share: bool) -> Array:
    """Unpooling by AVE (``share``) or TILE."""
    top = np.zeros((*x.shape[:2], *plane))
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            rows, columns = (
                range(at * stride, min(at * stride + kernel, size)) for at, size in zip((i, j), plane, strict=True)
            )
            for row in rows:
                for column in columns:
                    top[:, :, row, column] += x[:, :, i, j] / (len(rows) * len(columns) if share else 1)
    return top


def pooled(
    x: Array, kernel: tuple[int, int, int], stride: tuple[int, int, int], pad: int, method: Callable[..., Array]
) -> Array:
    """Pooling3D; a sum is divided by the size of the window inside the padded bottom."""
    pads = (0, pad, pad)
    sizes = [math.ceil((a + 2 * p - k) / s) + 1 for a, p, k, s in zip(x.shape[2:], pads, kernel, stride, strict=True)]
    top = np.zeros((*x.shape[:2], *sizes))
    for place in np.ndindex(*sizes):
        starts = [at * s - p for at, s, p in zip(place, stride, pads, strict=True)]
        stops = [min(a + k, n + p) for a, k, n, p in zip(starts, kernel, x.shape[2:], pads, strict=True)]
        window = tuple(slice(max(a, 0), b) for a, b in zip(starts, stops, strict=True))
        divisor = math.prod(b - a for a, b in zip(starts, stops, strict=True)) if method is np.sum else 1
        top[(..., *place)] = method(x[(..., *window)], axis=(2, 3, 4)) / divisor
    return top


def placed(x: Array, plane: tuple[int, int], stride: int) -> Array:
    """Unpooling by MAX without a mask."""
    top = np.zeros((*x.shape[:2], *plane))
    top[:, :, : stride * x.shape[2] : stride, : stride * x.shape[3] : stride] = x
    return top


def cubic(v: Sequence[Array], x: float) -> Array:
    """Keys's interpolation between the second and the third of four values."""
    a, b, c, d = v
    third = (d - a) / 2 + (b - c) * 1.5
    return b + x * (c - a) / 2 + x**2 * (a - 2.5 * b + 2 * c - d / 2) + x**3 * third


def rescaled(x: Array, plane: tuple[int, int], start: float, gap: float) -> Array:
    """ImResize."""
    total = np.zeros((x.shape[1], *plane))
    for item, maps in enumerate(x):
        cuts = [math.floor(size // 2 * (1 - start + item * gap)) for size in x.shape[2:]]
        inner = maps[:, cuts[0] : x.shape[2] - cuts[0], cuts[1] : x.shape[3] - cuts[1]]
        for i in range(plane[0]):
            for j in range(plane[1]):
                y, x_ = ((at + 0.5) * size / wide - 0.5 for at, size, wide in
                         zip((i, j), inner.shape[1:], plane, strict=True))  # fmt: skip
                top, left = (max(int(at + 1e-5), 0) for at in (y, x_))
                rows = [min(max(top + k, 0), inner.shape[1] - 1) for k in range(-1, 3)]
                columns = [min(max(left + k, 0), inner.shape[2] - 1) for k in range(-1, 3)]
                lines = [cubic([inner[:, row, column] for column in columns], x_ - left) for row in rows]
                total[:, i, j] += cubic(lines, y - top)
    return total[None] / len(x)


def peaks(x: Array, parts: int, most: int, threshold: float) -> Array:
    """Nms of OpenPose."""
    top = np.zeros((len(x), parts, most + 1, 3))
    for n, maps in enumerate(x[:, :parts]):
        for part, plane in enumerate(maps):
            found = []
            for i in range(2, plane.shape[0] - 1):
                for j in range(2, plane.shape[1] - 1):
                    around = np.delete(plane[i - 1 : i + 2, j - 1 : j + 2].ravel(), 4)
                    if plane[i, j] > threshold and (plane[i, j] > around).all():
                        found.append((i, j))
            top[n, part, 0, 0] = len(found)
            for row, (i, j) in zip(top[n, part, 1:], found, strict=False):
                near = [
                    (y, z, plane[y, z])
                    for y in range(max(i - 3, 1), min(i + 4, plane.shape[0]))
                    for z in range(max(j - 3, 1), min(j + 4, plane.shape[1]))
                    if plane[y, z] > 0
                ]
                mass = sum(each for *_, each in near)
                row[:] = sum(z * w for _, z, w in near) / mass, sum(y * w for y, _, w in near) / mass, plane[i, j]
    return top


def lattice_filter(features: Array, values: Array) -> Array:
    """Filters with a permutohedral lattice in a dictionary, one point after the other, and normalizes the result."""
    points, d = features.shape
    rows = np.hstack([values, np.ones((points, 1))])
    lattice: dict[tuple[int, ...], Array] = {}
    corners = []
    for feature, row in zip(features, rows, strict=True):
        scaled = [each * (d + 1) * math.sqrt(2 / 3 / ((i + 1) * (i + 2))) for i, each in enumerate(feature)]
        elevated = [sum(scaled[j:]) - j * (scaled[j - 1] if j else 0) for j in range(d + 1)]
        origin = [round(each / (d + 1)) * (d + 1) for each in elevated]
        order = sorted(range(d + 1), key=lambda j: origin[j] - elevated[j])
        excess = sum(origin) // (d + 1)
        for j in order[: max(-excess, 0)]:
            origin[j] += d + 1
        for j in order[d + 1 - max(excess, 0) :]:
            origin[j] -= d + 1
        order = sorted(range(d + 1), key=lambda j: origin[j] - elevated[j])
        steps = [(elevated[j] - origin[j]) / (d + 1) for j in order]
        weights = [1 - steps[0] + steps[-1], *(steps[d - r] - steps[d - r + 1] for r in range(1, d + 1))]
        mine = []
        for r, weight in enumerate(weights):
            # the corner of remainder r: the d + 1 - r smallest coordinates go up by r, the others down
            high = order[: d + 1 - r]
            corner = tuple(origin[j] + (r if j in high else r - d - 1) for j in range(d + 1))
            assert sum(corner) == 0
            lattice[corner] = lattice.get(corner, np.zeros(rows.shape[1])) + weight * row
            mine.append((corner, weight))
        corners.append(mine)
    for axis in range(d + 1):
        lattice = {
            corner: value
            + sum(
                lattice.get(tuple(c + sign * (d if j == axis else -1) for j, c in enumerate(corner)), 0 * value)
                for sign in (1, -1)
            )
            / 2
            for corner, value in lattice.items()
        }
    found = np.array([sum(weight * lattice[corner] for corner, weight in mine) for mine in corners])
    return found[:, :-1] / found[:, -1:]


def random_field(
    scores: Array, first: Array, image: Array, near: Array, far: Array, mix: Array,
    *, steps: int, alpha: float, beta: float, gamma: float,
) -> Array:  # fmt: skip
    """MultiStageMeanfield, algorithm 1 of CRF-RNN."""
    found = []
    height, width = scores.shape[2:]
    places = np.array([(x, y) for y in range(height) for x in range(width)], float)
    for unary, start, colours in zip(scores, first, image, strict=True):
        colour = colours.reshape(3, -1).T
        classes = len(unary)
        u, q = unary.reshape(classes, -1), start.reshape(classes, -1)
        for _ in range(steps):
            p = softmax(q, 0).T
            messages = near[0, 0] @ lattice_filter(places / gamma, p).T
            messages = messages + far[0, 0] @ lattice_filter(np.hstack([places / alpha, colour / beta]), p).T
            q = u - mix[0, 0] @ messages
        found.append(q.reshape(unary.shape))
    return np.array(found)


def deformed(
    x: Array,
    offsets: Array,
    weight: Array,
    bias: Array,
    *,
    stride: int,
    pad: int,
    dilation: int,
    group: int,
    parts: int,
) -> Array:
    """DeformableConvolution, equations 2 and 3."""
    n, channels, height, width = x.shape
    outputs, inputs, rows, columns = weight.shape
    moves = offsets.reshape(n, parts, rows, columns, 2, *offsets.shape[2:])
    top = np.zeros((n, outputs, *offsets.shape[2:]))

    def value(item: int, channel: int, y: float, z: float) -> float:
        if not (0 <= y < height and 0 <= z < width):
            return 0.0
        top, left = int(y), int(z)
        down, right = min(top + 1, height - 1), min(left + 1, width - 1)
        a, b = y - top, z - left
        plane = x[item, channel]
        return float((1 - a) * ((1 - b) * plane[top, left] + b * plane[top, right])
                     + a * ((1 - b) * plane[down, left] + b * plane[down, right]))  # fmt: skip

    for item, out, i, j in np.ndindex(top.shape):
        total = float(bias[out])
        for k, r, c in np.ndindex(inputs, rows, columns):
            channel = out // (outputs // group) * inputs + k
            move = moves[item, channel // (channels // parts), r, c, :, i, j]
            y, z = i * stride - pad + r * dilation + move[0], j * stride - pad + c * dilation + move[1]
            total += weight[out, k, r, c] * value(item, channel, y, z)
        top[item, out, i, j] = total
    return top


def corners(box: Sequence[float]) -> list[float]:
    x, y, width, height = box
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def judged(
    found: Array, labels: Array, *, side: int, classes: int, objects: int, least: float = 0.5, nms: float = -1,
    biases: Sequence[float] = (), score: str = "MULTIPLY",
) -> Array:  # fmt: skip
    """EvalDetection of both versions of YOLO."""
    top = np.zeros((len(found), classes + 4 * side * side * objects))
    for row, item, label in zip(top, found, labels.reshape(len(labels), -1), strict=True):
        boxes = []
        for cell in range(side * side):
            for k in range(objects):
                if biases:
                    part = item.reshape(objects, -1, side * side)[k, :, cell]
                    place = [(cell % side + sigmoid(part[0])) / side, (cell // side + sigmoid(part[1])) / side,
                             math.exp(part[2]) * biases[2 * k] / side,
                             math.exp(part[3]) * biases[2 * k + 1] / side]  # fmt: skip
                    odds, sure = softmax(part[5:], 0), float(sigmoid(part[4]))
                else:
                    planes = item.reshape(-1, side * side)
                    odds, sure = planes[:classes, cell], planes[classes + k, cell]
                    x, y, width, height = planes[classes + objects + 4 * k :][:4, cell]
                    place = [(cell % side + x) / side, (cell // side + y) / side, width**2, height**2]
                best = int(np.argmax(odds))
                value = {"OBJ": sure, "PROB": odds[best], "MULTIPLY": sure * odds[best]}[score]
                boxes.append((float(value), best, corners(place)))
        boxes.sort(key=lambda each: -each[0])
        if nms >= 0:
            boxes = [boxes[each] for each in kept([box for *_, box in boxes], nms)]
            boxes = [each for each in boxes if each[0] >= 0.005 or not biases]
        if biases:
            rows = label.reshape(-1, 5)
            rows = rows[: next((i for i, each in enumerate(rows) if each[1] == 0), len(rows))]
            truths = [(int(each[0]), False, corners(each[1:])) for each in rows]
        else:
            hard, there, kind = label[: 3 * side * side].reshape(3, -1)
            places = label[3 * side * side :].reshape(-1, 4)
            truths = [(int(kind[i]), hard[i] == 1, corners(places[i])) for i in range(side * side) if there[i]]
        for kind_, is_hard, _ in truths:
            row[kind_] += not is_hard
        taken = set()
        for at, (value, kind_, box) in enumerate(sorted(boxes, key=lambda each: each[1])):
            shares = [(overlap(box, truth), -i) for i, (each, _, truth) in enumerate(truths) if each == kind_]
            share, index = max(shares, default=(-1, 0))
            verdict = (0, 1)
            if share >= least:
                verdict = (0, 0) if truths[-index][1] else (0, 1) if -index in taken else (1, 0)
                taken.add(-index)
            row[classes + 4 * at :][:4] = kind_, value, *verdict
    return top
