"""Runs models fast, from their packed weights: :func:`optimize`."""

from demitasse.runtime.module import OptimizedModule
from demitasse.runtime.optimize import optimize, plan_in
from demitasse.runtime.plan import Plan
from demitasse.runtime.report import LayerPlan, PlanReport, report

__all__ = ["LayerPlan", "OptimizedModule", "Plan", "PlanReport", "optimize", "plan_in", "report"]
