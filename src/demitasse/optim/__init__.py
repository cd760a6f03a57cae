"""Optimizers and learning rates for PyTorch loops: LARS, and warm-up before any of torch's schedulers."""

from demitasse.optim.lars import LARS
from demitasse.optim.warmup import WarmUp

__all__ = ["LARS", "WarmUp"]
