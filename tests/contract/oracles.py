"""What layers compute, written from the definitions in NumPy, one entry at a time where that is clearest.

Each function takes the bottoms, then the blobs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array, axis: int = 1) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def batch_norm(x: Array, *blobs: Array) -> Array:
    axes = (0, *range(2, x.ndim))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def mvn(x: Array, axes: tuple[int, ...], eps: float = 1e-9) -> Array:
    return (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + eps)


def rows(x: Array) -> Iterable[tuple[int, Array]]:
    return enumerate(x.reshape(len(x), -1))


def softmax_loss(x: Array, label: Array, ignored: int = -1) -> Array:
    counted = [(i, int(k)) for i, k in enumerate(label) if k != ignored]
    return np.array(sum(-math.log(softmax(x)[i, k]) for i, k in counted) / max(len(counted), 1))


def softmax_losses(x: Array, label: Array, ignored: int) -> tuple[Array, ...]:
    """The loss, the probabilities, and the loss of each label, (n, 1, 1, 1)."""
    chances = softmax(x)
    each = [0.0 if k == ignored else -math.log(chances[i, int(k)]) for i, k in enumerate(label)]
    return softmax_loss(x, label, ignored), chances, np.array(each).reshape(-1, 1, 1, 1)


def sigmoid_loss(x: Array, target: Array, ignored: int) -> Array:
    counted = target != ignored
    p = sigmoid(x)
    losses = -(target * np.log(p) + (1 - target) * np.log(1 - p))
    return np.array(losses[counted].sum() / max(counted.sum(), 1))


def infogain(x: Array, label: Array, matrix: Array) -> Array:
    table = matrix.reshape(x.shape[1], x.shape[1])
    p = softmax(x)
    losses = [-sum(table[int(k), j] * math.log(p[i, j]) for j in range(x.shape[1])) for i, k in enumerate(label)]
    return np.array(sum(losses) / len(losses))


def multinomial(p: Array, label: Array) -> Array:
    return np.array(sum(-math.log(row[int(label[i])]) for i, row in rows(p)) / len(p))


def hinge(x: Array, label: Array, power: int) -> Array:
    total = 0.0
    for i, row in rows(x):
        for k, score in enumerate(row):
            total += max(0.0, 1 - (score if k == label[i] else -score)) ** power
    return np.array(total / len(x))


def contrastive(a: Array, b: Array, label: Array, margin: float, legacy: bool) -> Array:
    total = 0.0
    for left, right, alike in zip(a, b, label, strict=True):
        square = float(((left - right) ** 2).sum())
        apart = max(margin - square, 0) if legacy else max(margin - math.sqrt(square), 0) ** 2
        total += square if alike else apart
    return np.array(total / len(a) / 2)


def accuracy(x: Array, label: Array, top_k: int) -> tuple[Array, Array]:
    hits = [sorted(row, reverse=True).index(row[int(k)]) < top_k for row, k in zip(x, label, strict=True)]
    by_class = [[hit for hit, k in zip(hits, label, strict=True) if k == c] for c in range(x.shape[1])]
    return np.array(np.mean(hits)), np.array([np.mean(found) if found else 0 for found in by_class])


def lstm(x: Array, cont: Array, *rest: Array, static: bool = False, exposed: bool = False) -> tuple[Array, ...]:
    """Stream by stream and step by step, after equations 7 to 12 of Zaremba and Sutskever."""
    rest = list(rest)
    still = rest.pop(0) if static else None
    h0, c0 = (rest.pop(0)[0], rest.pop(0)[0]) if exposed else (None, None)
    w, b = rest[:2]
    u, units = rest[-1], rest[-1].shape[1]
    top = np.zeros((*x.shape[:2], units))
    last = np.zeros((2, x.shape[1], units))
    for stream in range(x.shape[1]):
        h = h0[stream] if exposed else np.zeros(units)
        c = c0[stream] if exposed else np.zeros(units)
        for t in range(x.shape[0]):
            if cont[t, stream] == 0:
                h, c = np.zeros(units), np.zeros(units)
            z = w @ x[t, stream].ravel() + b + u @ h
            if static:
                z = z + rest[2] @ still[stream].ravel()
            i, f, o = (sigmoid(part) for part in np.split(z[: 3 * units], 3))
            c = f * c + i * np.tanh(z[3 * units :])
            h = o * np.tanh(c)
            top[t, stream] = h
        last[:, stream] = h, c
    return (top, last[:1], last[1:]) if exposed else (top,)


def lstm_unit(cell: Array, gates: Array, cont: Array) -> tuple[Array, Array]:
    cells, hidden = np.zeros_like(cell), np.zeros_like(cell)
    for stream in range(cell.shape[1]):
        i, f, o, g = np.split(gates[0, stream], 4)
        before = cell[0, stream] if cont[0, stream] else 0
        cells[0, stream] = sigmoid(f) * before + sigmoid(i) * np.tanh(g)
        hidden[0, stream] = sigmoid(o) * np.tanh(cells[0, stream])
    return cells, hidden


def rnn(x: Array, cont: Array, w: Array, b: Array, u: Array, v: Array, d: Array) -> Array:
    top = np.zeros((*x.shape[:2], len(v)))
    for stream in range(x.shape[1]):
        h = np.zeros(len(u))
        for t in range(x.shape[0]):
            h = np.tanh(w @ x[t, stream].ravel() + b + u @ (h * cont[t, stream]))
            top[t, stream] = np.tanh(v @ h + d)
    return top


def deconvolution(
    x: Array, weight: Array, *bias: Array, stride: int = 1, pad: int = 0, dilation: int = 1, group: int = 1
) -> Array:
    """Adds every entry times its kernel where the stride puts it; then the pad is cut off."""
    kernel = weight.shape[2:]
    sizes = [stride * (n - 1) + dilation * (k - 1) + 1 for n, k in zip(x.shape[2:], kernel, strict=True)]
    outputs, inputs = weight.shape[1], x.shape[1] // group
    top = np.zeros((len(x), outputs * group, *sizes))
    for channel in range(x.shape[1]):
        first = channel // inputs * outputs
        for place in itertools.product(*map(range, x.shape[2:])):
            for at in itertools.product(*map(range, kernel)):
                goal = tuple(stride * p + dilation * k for p, k in zip(place, at, strict=True))
                part = x[(slice(None), channel, *place)][:, None] * weight[(channel, slice(None), *at)]
                top[(slice(None), slice(first, first + outputs), *goal)] += part
    top = top[(slice(None), slice(None), *(slice(pad, size - pad) for size in sizes))]
    return top + bias[0].reshape(-1, *(1,) * len(kernel)) if bias else top


def im2col(x: Array, kernel: tuple[int, ...], stride: int, pad: int, dilation: int) -> Array:
    axes = len(kernel)
    padded = np.pad(x, [(0, 0), (0, 0)] + [(pad, pad)] * axes)
    counts = [(n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(padded.shape[2:], kernel, strict=True)]
    found = []
    for channel in range(x.shape[1]):
        for at in itertools.product(*map(range, kernel)):
            places = (
                slice(k * dilation, k * dilation + (n - 1) * stride + 1, stride)
                for k, n in zip(at, counts, strict=True)
            )
            found.append(padded[(slice(None), channel, *places)])
    return np.stack(found, 1)


def pyramid(x: Array, height: int, combine: str) -> Array:
    """Pools each plane in 1, 4, 16... windows; the pad is half of what is missing, rounded up, on the first side."""
    levels = []
    for level in range(height):
        parts = 2**level
        bounds = []
        for size in x.shape[2:]:
            kernel = math.ceil(size / parts)
            pad = (kernel * parts - size + 1) // 2
            starts = [i * kernel - pad for i in range(parts)]
            bounds.append([(max(s, 0), min(s + kernel, size), min(s + kernel, size + pad) - s) for s in starts])
        for channel in range(x.shape[1]):
            for (top, below, tall), (left, right, wide) in itertools.product(*bounds):
                window = x[:, channel, top:below, left:right]
                levels.append(window.max((1, 2)) if combine == "MAX" else window.sum((1, 2)) / (tall * wide))
    return np.stack(levels, 1)
