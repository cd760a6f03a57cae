"""Runs models fast, from their packed weights: :func:`optimize`.

PyTorch is loaded when a module is read, or when operations without a kernel of ours are computed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from demitasse.runtime.optimize import optimize, plan_in
from demitasse.runtime.report import LayerPlan, PlanReport, report

if TYPE_CHECKING:
    from demitasse.runtime.module import OptimizedModule
    from demitasse.runtime.plan import Plan

# name -> the module that defines it, and that needs PyTorch
_PLACES = {"OptimizedModule": "demitasse.runtime.module", "Plan": "demitasse.runtime.plan"}

__all__ = ["LayerPlan", "OptimizedModule", "Plan", "PlanReport", "optimize", "plan_in", "report"]


def __getattr__(name: str) -> object:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'demitasse.runtime' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
