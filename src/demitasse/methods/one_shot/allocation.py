"""Distributes zeros over layers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

FLOOR = 0.1


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
