"""Optimizers by name, for recipes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer

from demitasse.optim import LARS
from demitasse.registry import Registry

# parameter groups and learning rate -> optimizer
OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer")
OPTIMIZERS.register("sgd")(torch.optim.SGD)
OPTIMIZERS.register("adam")(torch.optim.Adam)
OPTIMIZERS.register("adamw")(torch.optim.AdamW)
OPTIMIZERS.register("lars")(LARS)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Returns two groups of parameters: weights, which decay, and biases and normalization, which do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(name: str, model: nn.Module, lr: float, weight_decay: float = 0.0, **settings: object) -> Optimizer:
    """Returns an optimizer for a model.

    Args:
        name: an entry of ``OPTIMIZERS``.
        model: the model to train.
        lr: the learning rate.
        weight_decay: decay of weights; biases and normalization do not decay.
        settings: other settings of the optimizer, such as ``momentum``.

    Raises:
        UnknownNameError: there is no such optimizer.
    """
    return OPTIMIZERS[name](parameter_groups(model, weight_decay), lr=lr, **settings)
