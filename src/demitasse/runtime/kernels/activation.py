"""Activations in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from demitasse.graph.graph import Activation


def in_place(activation: Activation) -> Callable[[Tensor], Tensor]:
    """Returns the function that applies an activation to a tensor, in its memory."""
    numbers = activation.numbers
    if activation.kind == "Clip":
        return partial(Tensor.clamp_, min=numbers[0], max=numbers[1])
    if activation.kind == "LeakyReLU":
        return partial(F.leaky_relu_, negative_slope=numbers[0])
    return torch.relu_
