"""What the layers that train detectors compute, written from the papers in NumPy, one box at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.contract.detection_oracles import Box, decoded, kept, overlap
from tests.contract.oracles import Array, sigmoid, softmax


def encoded(box: Box, prior: Box, variance: Box, code: str) -> list[float]:
    """Equation 2 of the SSD paper."""
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    if code == "CORNER":
        t = [b - p for b, p in zip(box, prior, strict=True)]
    elif code == "CORNER_SIZE":
        t = [(b - p) / size for b, p, size in zip(box, prior, [width, height, width, height], strict=True)]
    else:
        t = [
            ((box[0] + box[2]) - (prior[0] + prior[2])) / 2 / width,
            ((box[1] + box[3]) - (prior[1] + prior[3])) / 2 / height,
            math.log((box[2] - box[0]) / width),
            math.log((box[3] - box[1]) / height),
        ]
    return [each / v for each, v in zip(t, variance, strict=True)]


def matched(boxes: Sequence[Box], truths: Sequence[Box], threshold: float, each: bool, inside: bool) -> list[int]:
    """Section 2.2 of the SSD paper, "Matching strategy": the index of the true box of each box; -1, -2 for outside."""
    found = [-2 if inside and (min(box) < 0 or max(box) > 1) else -1 for box in boxes]
    table = {
        (i, j): overlap(box, truth)
        for i, box in enumerate(boxes)
        for j, truth in enumerate(truths)
        if found[i] != -2 and overlap(box, truth) > 1e-6
    }
    left = set(range(len(truths)))
    while True:
        pairs = [(-shared, i, j) for (i, j), shared in table.items() if found[i] == -1 and j in left]
        if not pairs:
            break
        _, i, j = min(pairs)
        found[i] = j
        left.remove(j)
    for i in range(len(boxes)):
        if each and found[i] == -1:
            pairs = [(-table[i, j], j) for j in range(len(truths)) if table.get((i, j), 0) >= max(threshold, 1e-6)]
            found[i] = min(pairs)[1] if pairs else -1
    return found


def multibox(
    offsets: Array, scores: Array, priors: Array, labels: Array, classes: int, code: str = "CORNER",
    threshold: float = 0.5, each: bool = True, mining: str = "MAX_NEGATIVE", ratio: float = 3, below: float = 0.5,
    shared: bool = True, in_target: bool = False, logistic: bool = False, square: bool = False, difficult: bool = True,
    divisor: str = "VALID", by_prior: bool = True, inside: bool = False, within: bool = False, agnostic: bool = False,
    most: int = 64, nms: float = 0, top_k: int | None = None, nms_prior: bool = False, weight: float = 1,
    background: int = 0, parts: tuple[int, int] = (1, 1),
) -> Array:  # fmt: skip
    count, number = len(offsets), priors.shape[2] // 4
    corners, variances = priors.reshape(2, number, 4)
    ones = np.ones(4)
    moves, scores = offsets.reshape(count, number, -1, 4), scores.reshape(count, number, classes)
    places, kinds, total = 0.0, 0.0, 0

    def shown(n: int, p: int, k: int) -> list[float]:
        return decoded(moves[n, p, k], corners[p], ones if in_target else variances[p], code)

    def kind_loss(n: int, p: int, label: int) -> float:
        if not logistic:
            return -math.log(softmax(scores[n, p], 0)[label])
        chances = sigmoid(scores[n, p])
        return -sum(math.log(chance if k == label else 1 - chance) for k, chance in enumerate(chances))

    def place_loss(n: int, p: int, k: int, box: Box) -> float:
        target = encoded(box, corners[p], ones if in_target else variances[p], code)
        reference = corners[p] if by_prior else shown(n, p, k)
        found = 0.0
        for c in range(4):
            x = moves[n, p, k, c] - target[c]
            x /= variances[p][c] if in_target else 1
            if within and not 0 <= reference[c] <= 1:
                continue
            found += x * x / 2 if square or abs(x) < 1 else abs(x) - 0.5
        return found

    for n in range(count):
        rows = [row for row in labels.reshape(-1, 8) if row[0] == n and (difficult or not row[7])]
        truths = [row[3:7] for row in rows]
        names = [background + 1 if agnostic else int(row[1]) for row in rows]
        pairs: list[tuple[int, int, int]] = []  # prior, class of offsets, truth
        found = matched(corners, truths, threshold, each, inside)
        for k in range(moves.shape[2]):
            if not shared and k == background:
                continue
            own = [j for j in range(len(truths)) if shared or names[j] == k]
            if by_prior:
                pairs += [(p, k, j) for p, j in enumerate(found) if j in own]
            else:
                boxes = [shown(n, p, k) for p in range(number)]
                found = matched(boxes, [truths[j] for j in own], threshold, each, inside)
                pairs += [(p, k, own[j]) for p, j in enumerate(found) if j >= 0]
        label = {p: names[j] for p, _, j in pairs}  # a box may match a box of each class; the last one counts
        negatives = [p for p in range(number) if p not in label]
        if mining != "NONE":
            boxes = corners if by_prior else [shown(n, p, 0) for p in range(number)]
            losses = [kind_loss(n, p, label.get(p, background)) for p in range(number)]
            if mining == "HARD_EXAMPLE":
                candidates, wanted = list(range(number)), most
                for p, k, j in pairs:
                    losses[p] += place_loss(n, p, k, truths[j])
            else:
                close = [max((overlap(box, truth) for truth in truths), default=0) for box in boxes]
                candidates = [p for p in range(number) if found[p] == -1 and close[p] < below]
                wanted = int(len(pairs) * ratio)
            ranked = sorted(candidates, key=lambda p: -losses[p])
            if nms:
                compared = [corners[p] if nms_prior else shown(n, p, 0) for p in ranked[:top_k]]
                compared = [(p, b) for p, b in zip(ranked, compared, strict=False)
                            if max(b[2] - b[0], 0) * max(b[3] - b[1], 0) >= 1e-5]  # fmt: skip
                ranked = [compared[i][0] for i in kept([b for _, b in compared], nms)]
            chosen = set(ranked[:wanted]) if rows else set()
            if mining == "HARD_EXAMPLE":
                pairs = [pair for pair in pairs if pair[0] in chosen]
                negatives = [p for p in chosen if p not in label and found[p] != -2]
            else:
                negatives = sorted(chosen)
        kinds += sum(kind_loss(n, p, label[p]) for p in {pair[0] for pair in pairs})
        kinds += sum(kind_loss(n, p, background) for p in negatives)
        places += sum(place_loss(n, p, k, truths[j]) for p, k, j in pairs)
        total += len(pairs)
    by = {"VALID": total, "FULL": count * number, "BATCH_SIZE": count, "NONE": 1}[divisor]
    return np.array((parts[0] * weight * places + parts[1] * kinds) / max(by, 1))


def evaluated(
    found: Array, labels: Array, classes: int, least: float = 0.5, difficult: bool = True, background: int = 0,
) -> Array:  # fmt: skip
    """Section 4.2 of the PASCAL VOC paper, as rows."""
    truths = [row for row in labels.reshape(-1, 8) if row[0] >= 0]
    rows = []
    for label in (label for label in range(classes) if label != background):
        mine = [row for row in truths if row[1] == label and (difficult or not row[7])]
        rows.append([-1, label, len(mine), -1, -1])
    detections = [row for row in found.reshape(-1, 7) if row[0] >= 0 and row[1] >= 0]
    for item, label in sorted({(row[0], row[1]) for row in detections}):
        mine = [row for row in detections if (row[0], row[1]) == (item, label)]
        known = [row for row in truths if (row[0], row[1]) == (item, label)]
        used = set()
        for row in sorted(mine, key=lambda row: -row[2]) if known else mine:
            shared = [overlap(row[3:], truth[3:7]) for truth in known]
            best = max(range(len(known)), key=lambda i: (shared[i], -i)) if known else -1
            verdict = [0, 1]
            if known and shared[best] >= least:
                if known[best][7] and not difficult:
                    verdict = [0, 0]
                elif best not in used:
                    verdict = [1, 0]
                    used.add(best)
            rows.append([*row[:3], *verdict])
    return np.array(rows, float)[None, None]


def hardest(regions: Array, losses: Array, labels: Array, weights: Array, most: int, ignored: int) -> tuple[Array, ...]:
    """R-FCN, section 2.3: of each image, the regions with the largest losses keep their labels and weights."""
    count, channels = len(regions), weights.shape[1]
    plane = (*regions.shape[2:], 1, 1)[:2]
    found = np.full((count, 1, *plane), float(ignored))
    kept_weights = np.zeros((count, channels, *plane))
    places = [(n, y, x) for n in range(count) for y in range(plane[0]) for x in range(plane[1])]
    losses, labels = losses.reshape(count, *plane), labels.reshape(count, *plane)
    regions, weights = regions.reshape(count, 5, *plane), weights.reshape(count, channels, *plane)
    left = dict.fromkeys(regions[:, 0].ravel(), most)
    for n, y, x in sorted(places, key=lambda place: -losses[place]):
        image = regions[n, 0, y, x]
        if left[image]:
            left[image] -= 1
            found[n, 0, y, x] = labels[n, y, x]
            kept_weights[n, :, y, x] = weights[n, :, y, x]
    return found, kept_weights


def smooth_l1_of_channels(a: Array, b: Array, weights: Array | None = None, divisor: float | None = None) -> Array:
    x = np.abs((a - b) * (1 if weights is None else weights))
    each = np.where(x < 1, x * x / 2, x - 0.5).sum(1, keepdims=True)
    return np.array(each.sum() / (divisor or each.size)), each
