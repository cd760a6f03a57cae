"""Runs graphs: :func:`optimize` makes a plan of a net, which computes the same in fewer and faster steps."""

from demitasse.runtime.plan import Plan, optimize

__all__ = ["Plan", "optimize"]
