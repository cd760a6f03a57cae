"""Optimizers and learning rates for PyTorch: LARS, and warm-up for any of torch's schedulers."""

from demitasse.optim.lars import LARS
from demitasse.optim.warmup import WarmUp

__all__ = ["LARS", "WarmUp"]
