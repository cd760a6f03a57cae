"""Gradual magnitude pruning, the baseline on equal footing: what is pruned never comes back.

Reference: Zhu and Gupta 2017, To prune, or not to prune (arXiv 1710.01878).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from demitasse.methods import floors, selection, settings, shards
from demitasse.methods.exchange import Scales
from demitasse.methods.floors import FLOOR
from demitasse.methods.pruning import Numbers, Pruning, Scope
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
        floor: the least share that is kept in any layer, as far as the sparsity of all allows.
        keep_zeros: whether weights that are zero when the method is attached stay zero for good; None for that in
            parameters with more than 10 % and less than 100 % zeros, which were pruned before. The report names them.
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
        floor: float = FLOOR,
        keep_zeros: bool | None = None,
        seed: int = 0,
    ) -> None:
        settings.each(self.by, sparsity, settings.share)
        self.every = settings.steps("every", every, 1)
        floor = floors.checked(floor, sparsity.values() if isinstance(sparsity, Mapping) else [sparsity])
        super().__init__(
            model, optimizer, sparsity, parameters, exclude, scope, Ramp(begin, ramp), floor, keep_zeros, seed
        )
        self.targets = self._values

    def decide(self, skip: Tensor | None) -> None:
        since = self.iteration - self.ramp.begin
        if (
            since >= 0
            and self.iteration <= self.ramp.end
            and (since % self.every == 0 or self.iteration == self.ramp.end)
        ):
            self.cut_to_target(Scales(), PRUNED, skip)

    def saved(self, record: Record) -> dict[str, Tensor]:
        mask = shards.like(record.parameter, (record.status != PRUNED).contiguous())
        return {"mask": mask, **self.saved_zeros(record)}

    def take(self, record: Record, saved: dict[str, Tensor]) -> None:
        self.take_zeros(record, saved)
        kept = self._part(record, "mask", saved["mask"]).bool()
        state = torch.where(kept, FREE, PRUNED).to(torch.uint8)
        record.restore(torch.where(record.status == FROZEN, record.status, state))
