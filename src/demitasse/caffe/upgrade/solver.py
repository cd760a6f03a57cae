"""Upgrades solvers that have their type as an enum."""

from __future__ import annotations

from demitasse.caffe import schema
from demitasse.errors import PrototxtError

_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "LarsSGD")


def upgrade_solver(solver: schema.SolverParameter) -> schema.SolverParameter:
    """Converts the old enum ``solver_type`` to the string ``type``, in place, and returns the solver.

    Raises:
        PrototxtError: the solver has both.
    """
    if not solver.HasField("solver_type"):
        return solver
    name = _TYPES[solver.solver_type]
    if solver.HasField("type"):
        raise PrototxtError(
            f"solver: found both type {solver.type!r} and the older solver_type ({name}); give only type"
        )
    solver.type = name
    solver.ClearField("solver_type")
    return solver
