"""Distributes zeros and bits over layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

FLOOR = 0.1
FEWER, MORE = 0.5, 2.0  # bits


def zeros(scores: Mapping[str, Tensor], sparsity: float, floor: float = FLOOR) -> dict[str, int]:
    """Returns how many weights of each layer to cut, so that the sum of the scores of what is cut is the least.

    No layer loses more than a share of what it would keep if all layers were cut alike, so that none dies.

    Args:
        scores: name -> what cutting each weight costs the model.
        sparsity: the share of zeros of all layers together, 0 to 1.
        floor: the least share of those weights that a layer keeps.

    Reference: LeCun, Denker and Solla 1989, Optimal Brain Damage, section 2: one threshold for all weights.
    """
    total = sum(one.numel() for one in scores.values())
    target = round(sparsity * total)
    most = {name: one.numel() - math.ceil(floor * (1 - sparsity) * one.numel()) for name, one in scores.items()}
    # the scores that may be cut, with the layer of each
    candidates, owners = [], []
    for number, (name, one) in enumerate(scores.items()):
        lowest = one.flatten().double().sort().values[: most[name]]
        candidates.append(lowest)
        owners.append(torch.full((len(lowest),), number))
    order = torch.cat(candidates).argsort(stable=True)[:target]
    counts = torch.bincount(torch.cat(owners)[order], minlength=len(scores)).tolist()
    return dict(zip(scores, counts, strict=True))


def shifts(losses: Mapping[str, float], entries: Mapping[str, int], most: float = MORE) -> dict[str, float]:
    """Returns by how many bits a weight of each layer should have more than the average, so that the loss is the least.

    A bit more for each weight of a layer divides its loss by four. The sum of the losses is least where every weight
    has the same loss: the bits that a layer gets are half of log2 of the loss of its weights, less the mean. Nothing
    changes by more than ``FEWER`` or ``MORE`` bits, since the losses are estimates.

    Args:
        losses: name -> loss of a layer at the average number of bits.
        entries: name -> number of its weights that take bits.
        most: by how many bits a weight may have more, at most ``MORE``.

    Reference: Gersho and Gray 1992, Vector Quantization and Signal Compression, section 8.3, equation (8.3.4).
    """
    wanted = {name: math.log2(loss / entries[name]) / 2 for name, loss in losses.items() if loss > 0}
    if not wanted:
        return dict.fromkeys(losses, 0.0)
    low, high = min(wanted.values()) - MORE, max(wanted.values()) + FEWER
    for _ in range(60):
        middle = (low + high) / 2
        total = sum(entries[name] * _clamped(value - middle, most) for name, value in wanted.items())
        low, high = (middle, high) if total > 0 else (low, middle)
    return {name: _clamped(wanted[name] - high, most) if name in wanted else -FEWER for name in losses}


def _clamped(shift: float, most: float) -> float:
    return min(max(shift, -FEWER), most)
