"""The operation ``demitasse::run``: what torch's exporter and compiler see of an optimized module.

A graph that contains it names the plan by a key, and runs only in the process that holds the plan.
"""

from __future__ import annotations

from uuid import uuid4
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from demitasse.errors import UsageError
from demitasse.graph.pytorch import Exported
from demitasse.graph.pytorch.arguments import Named, Positional
from demitasse.graph.pytorch.results import Results
from demitasse.runtime.plan import Plan


class PlanOperator:
    """What an optimized module computes, as an operation of torch.

    Args:
        plan: computes it.
        exported: the module as a graph.
        results: what the graph returns.

    Attributes:
        key: names it in graphs; no other process has the same.
        results: what the graph returns.
    """

    def __init__(self, plan: Plan, exported: Exported, results: Results) -> None:
        self.key = f"{plan.graph.name}-{uuid4().hex}"
        self.results = results
        self._plan, self._exported = plan, exported
        _OPERATORS[self.key] = self

    def takes(self, args: Positional, kwargs: Named) -> bool:
        """Tells whether the operation has these arguments: tensors, named as in the example."""
        named = kwargs.keys() == set(self._exported.names)
        return named and all(isinstance(each, Tensor) for each in (*args, *kwargs.values()))

    def __call__(self, args: Positional, kwargs: Named) -> object:
        """Calls the operation; returns what the module returns, without gradients."""
        inputs = [*args, *(kwargs[name] for name in self._exported.names)]
        return self._exported.restore(torch.ops.demitasse.run([each.detach() for each in inputs], self.key))

    @torch.no_grad()
    def compute(self, inputs: list[Tensor]) -> list[Tensor]:
        """Returns the outputs of the graph.

        Raises:
            UsageError: the inputs differ from the example in more than the values and the size of the batch.
        """
        names = self._exported.names
        count = len(inputs) - len(names)
        leaves = self._exported.flatten(tuple(inputs[:count]), dict(zip(names, inputs[count:], strict=True)))
        return list(self._plan(dict(zip(self._plan.graph.inputs, leaves, strict=True))).values())


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
