"""The registry of built-in models."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from demitasse.registry import Registry

# a builder takes the model's settings as keywords, and draws the initial weights from torch's generator
MODELS: Registry[Callable[..., nn.Module]] = Registry("model")
