"""The operation ``demitasse::run``: what torch's exporter and compiler see of an optimized module.

A graph that contains it names the plan by a key, and runs only in the process that holds the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from demitasse.errors import UsageError
from demitasse.graph.pytorch.results import Results


class PlanOperator:
    """What an optimized module computes, as an operation of torch.

    Args:
        name: of the module.
        compute: returns the outputs for the inputs.
        results: describes the outputs.

    Attributes:
        key: names it in graphs; no other process has the same.
        results: describes the outputs.
    """

    def __init__(self, name: str, compute: Callable[[list[Tensor]], Sequence[Tensor]], results: Results) -> None:
        self.key = f"{name}-{uuid4().hex}"
        self.compute, self.results = compute, results
        _OPERATORS[self.key] = self

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Returns the outputs, without gradients."""
        found: list[Tensor] = torch.ops.demitasse.run([each.detach() for each in inputs], self.key)
        return found


_OPERATORS: WeakValueDictionary[str, PlanOperator] = WeakValueDictionary()


def _operator(key: str) -> PlanOperator:
    found = _OPERATORS.get(key)
    if found is None:
        raise UsageError(
            f"found no optimized module {key!r} in this process; a program that was exported from an optimized module "
            "runs only in the process that made it, as long as the module exists: optimize and export the model again"
        )
    return found


@torch.library.custom_op("demitasse::run", mutates_args=())
def _run(inputs: list[Tensor], key: str) -> list[Tensor]:
    known = {each.untyped_storage().data_ptr() for each in inputs}
    found = []
    for each in _operator(key).compute(inputs):
        # torch wants contiguous results, each in memory of its own
        own = each.clone() if each.untyped_storage().data_ptr() in known else each
        known.add(own.untyped_storage().data_ptr())
        found.append(own.contiguous())
    return found


@_run.register_fake
def _fake(inputs: list[Tensor], key: str) -> list[Tensor]:
    count, shapes, dtypes = _operator(key).results
    if len(inputs) != count:
        raise UsageError(f"found {len(inputs)} arguments; expected {count}, as in the example")
    found = shapes([each.shape[0] if each.ndim else 1 for each in inputs])
    return [inputs[0].new_empty(shape, dtype=dtype) for shape, dtype in zip(found, dtypes, strict=True)]
