"""Runs models fast, from their packed weights: :func:`optimize`."""

from demitasse.runtime.module import OptimizedModule
from demitasse.runtime.optimize import optimize
from demitasse.runtime.plan import Plan

__all__ = ["OptimizedModule", "Plan", "optimize"]
