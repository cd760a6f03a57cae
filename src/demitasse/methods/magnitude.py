"""Gradual magnitude pruning, the baseline for comparisons: pruned weights never come back.

Reference: Zhu and Gupta 2017, To prune, or not to prune (arXiv 1710.01878).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.methods import floors, selection, settings, shards
from demitasse.methods.exchange import Scales
from demitasse.methods.floors import FLOOR
from demitasse.methods.pruning import Numbers, Pruning, Scope
from demitasse.methods.records import FREE, FROZEN, PRUNED, Record
from demitasse.methods.schedule import Ramp


class MagnitudePruning(Pruning):
    """Prunes the smallest weights during training, up to a target.

    The sparsity at step t is target * (1 - (1 - (t + 1 - begin) / ramp)^3). Pruned weights stay exactly 0.

    Args:
        model: any module.
        optimizer: the optimizer or optimizers that train the model; the first one counts the steps.
        sparsity: the final share of zeros, 0 to 1: one number for all chosen parameters together, or a mapping of
            patterns to numbers; each parameter gets the number of the first pattern that matches it.
        parameters: what to prune, see :func:`demitasse.methods.selection.select`.
        exclude: what to leave dense.
        scope: with one sparsity, ``global``: one threshold for all parameters; ``layer``: the sparsity in each one.
        begin: the step at which pruning begins.
        ramp: the number of steps until the target is reached.
        every: number of steps from one decision to the next; the last step of the ramp always decides.
        floor: the least share to keep in each layer, as far as the total sparsity allows.
        keep_zeros: whether weights that are zero when the method is attached stay zero. None: only in parameters with
            more than 10 % and less than 100 % zeros, which were pruned before. The report names them.
        seed: unused, since nothing is random here; all methods accept it.

    Raises:
        MethodError: a setting is invalid, or a pattern matches nothing.

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

    @override
    def decide(self, skip: Tensor | None) -> None:
        since = self.iteration - self.ramp.begin
        if (
            since >= 0
            and self.iteration <= self.ramp.end
            and (since % self.every == 0 or self.iteration == self.ramp.end)
        ):
            self.cut_to_target(Scales(), PRUNED, skip)

    @override
    def record_state(self, record: Record) -> dict[str, Tensor]:
        mask = shards.like(record.parameter, (record.status != PRUNED).contiguous())
        return {"mask": mask, **self.zeros_state(record)}

    @override
    def load_record_state(self, record: Record, saved: dict[str, Tensor]) -> None:
        self.load_zeros_state(record, saved)
        kept = self._part(record, "mask", saved["mask"]).bool()
        state = torch.where(kept, FREE, PRUNED).to(torch.uint8)
        record.restore(torch.where(record.status == FROZEN, record.status, state))
