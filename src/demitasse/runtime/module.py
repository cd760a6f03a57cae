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
    """

    def __init__(self, exported: Exported) -> None:
        super().__init__()
        self.plan = plan_of(exported.graph)
        self._exported = exported
        self._operator = PlanOperator(self.plan, exported, exported.results) if exported.results else None
        self.eval()

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() and self._operator and self._operator.takes(args, kwargs):
            return self._operator(args, kwargs)
        return self._computed(args, kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def _computed(self, args: Positional, kwargs: Named) -> object:
        leaves = self._exported.flatten(args, kwargs)
        found = self.plan(dict(zip(self.plan.graph.inputs, leaves, strict=True)))
        given = {id(leaf) for leaf in leaves}
        # what is returned is never an argument itself
        outputs = [each.clone() if id(each) in given and isinstance(each, Tensor) else each for each in found.values()]
        return self._exported.restore(outputs)

    def __deepcopy__(self, memo: dict[int, object]) -> OptimizedModule:
        return OptimizedModule(self._exported)

    def __reduce__(self) -> NoReturn:
        raise UsageError("an optimized module cannot be pickled; save the model itself, and optimize it again")

    @override
    def state_dict(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UsageError("an optimized module has no parameters; save the model that it was made of")

    def report(self, batch: int = 1) -> PlanReport:
        """Returns what each layer is computed with, for batches of a size."""
        return report(self.plan, batch)
