"""PyTorch modules made fast."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from typing_extensions import override

from demitasse.graph.pytorch import Named, Positional, read_module
from demitasse.runtime.plan import plan_of
from demitasse.runtime.report import PlanReport, report


class OptimizedModule(nn.Module):
    """Computes what a module computes in evaluation, without gradients; ``optimize`` makes it.

    Args:
        model: the module, in evaluation; it is not changed.
        args: an example of its arguments.
        kwargs: an example of its named arguments.

    Attributes:
        plan: how it is computed.
    """

    def __init__(self, model: nn.Module, args: Positional, kwargs: Named) -> None:
        super().__init__()
        exported = read_module(model, args, kwargs)
        self.plan = plan_of(exported.graph)
        self._flatten, self._restore = exported.flatten, exported.restore
        self.eval()

    @override
    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        leaves = self._flatten(args, kwargs)
        found = self.plan(dict(zip(self.plan.graph.inputs, leaves, strict=True)))
        return self._restore([found[name] for name in self.plan.graph.outputs])

    def report(self, batch: int = 1) -> PlanReport:
        """Returns what each layer is computed with, for batches of a size."""
        return report(self.plan, batch)
