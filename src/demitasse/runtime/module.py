"""PyTorch modules made fast."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.graph.pytorch import Exported
from demitasse.graph.pytorch.arguments import Named, Positional
from demitasse.runtime.operator import PlanOperator
from demitasse.runtime.plan import plan_of
from demitasse.runtime.report import PlanReport, report


class OptimizedModule(nn.Module):
    """Computes what a module computes in evaluation, without gradients; ``optimize`` makes it.

    Args:
        exported: the module as a graph.

    Attributes:
        plan: how it is computed.
        inputs: what it takes, in order.
    """

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        self.plan = plan_of(exported.graph)
        self.inputs = exported.inputs
        self._exported = exported
        self._is_plain = False  # whether it takes a tensor and returns one; known after a call
        self._operator = PlanOperator(self.plan, exported, exported.results) if exported.results else None
        self.eval()

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            if self._operator and self._operator.takes(args, kwargs):
                return self._operator(args, kwargs)
            return self._computed(args, kwargs)
        if self._is_plain and len(args) == 1 and not kwargs:
            found = self.plan.quick(args[0])
            if found is not None:
                return found
        return self._computed(args, kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _computed(self, args: Positional, kwargs: Named) -> object:
        leaves = self._exported.flatten(args, kwargs)
        inputs = dict(zip(self.plan.graph.inputs, leaves, strict=True))
        found = self.plan(inputs)
        given = {id(leaf) for leaf in leaves}
        # what is returned is never an argument itself
        outputs = [each.clone() if id(each) in given and isinstance(each, Tensor) else each for each in found.values()]
        result = self._exported.restore(outputs)
        self._is_plain = len(leaves) == len(args) == 1 and result is outputs[0]
        return result

    def __deepcopy__(self, memo: dict[int, object]) -> OptimizedModule:
        return OptimizedModule(self._exported)

    def __copy__(self) -> OptimizedModule:
        return OptimizedModule(self._exported)

    def __reduce__(self) -> NoReturn:
        raise UsageError("an optimized module cannot be pickled; save the model itself, and optimize it again")

    @override
    def state_dict(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UsageError("an optimized module has no parameters; save the model that it was made of")

    @override
    def load_state_dict(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UsageError("an optimized module has no parameters; load them into the model, and optimize it again")

    def report(self, batch: int = 1) -> PlanReport:
        """Returns what each layer is computed with, for batches of a size."""
        return report(self.plan, batch)
