"""Gradual magnitude pruning, the baseline on equal footing: what is pruned never comes back.

Reference: Zhu and Gupta 2017, To prune, or not to prune (arXiv 1710.01878).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from demitasse.errors import MethodError
from demitasse.methods import selection, shards
from demitasse.methods.exchange import Scales
from demitasse.methods.pruning import Numbers, Pruning, Scope, checked_targets
from demitasse.methods.records import FREE, FROZEN, PRUNED, Record
from demitasse.methods.schedule import Ramp


class MagnitudePruning(Pruning):
    """Prunes the smallest weights while a module trains, more and more up to a target.

    Sparsity at step t is target * (1 - (1 - (t + 1 - begin) / ramp)^3). Pruned weights stay exactly 0.

    Args:
        model: any module.
        optimizer: the optimizer that trains it, or several; the first one counts the steps.
        sparsity: the share of zeros in the end, 0 to 1: one number for all chosen parameters together, or a mapping
            of patterns to numbers, one for each parameter by the first pattern that matches it.
        parameters: what to prune, see :func:`demitasse.methods.selection.select`.
        exclude: what stays dense all the same.
        scope: ``global``, one threshold for all (only where sparsity is one number), or ``layer``, each to its target.
        begin: the step at which pruning begins.
        ramp: the number of steps that lead to the target.
        every: steps between two decisions; the last one of the ramp is always taken.
        seed: taken for the sake of a common interface; nothing here is random.

    Raises:
        MethodError: a setting has no meaning, or a pattern matches nothing.

    Reference: Zhu and Gupta 2017, equation (1).
    """

    cut_state = PRUNED

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        sparsity: Numbers,
        parameters: Sequence[selection.Pattern] | None = None,
        exclude: Sequence[selection.Pattern] = (),
        scope: Scope = "global",
        begin: int = 0,
        ramp: int = 1000,
        every: int = 1,
        seed: int = 0,
    ) -> None:
        checked_targets(sparsity)
        if every < 1:
            raise MethodError(f"every is {every}; expected a number of steps, 1 or more")
        self.every = every
        super().__init__(model, optimizer, sparsity, parameters, exclude, scope, Ramp(begin, ramp), seed)
        self.targets = self.targets_from(sparsity)

    def decide(self, skip: Tensor | None) -> None:
        since = self.iteration - self.ramp.begin
        if (
            since >= 0
            and self.iteration <= self.ramp.end
            and (since % self.every == 0 or self.iteration == self.ramp.end)
        ):
            self.cut_to_target(Scales(), PRUNED, skip)

    def saved(self, record: Record) -> dict[str, Tensor]:
        return {"mask": shards.like(record.parameter, (record.status != PRUNED).contiguous())}

    def take(self, record: Record, saved: dict[str, Tensor]) -> None:
        kept = self._part(record, "mask", saved["mask"]).bool()
        state = torch.where(kept, FREE, PRUNED).to(torch.uint8)
        record.restore(torch.where(record.status == FROZEN, record.status, state))
