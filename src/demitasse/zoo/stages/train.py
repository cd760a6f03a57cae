"""Plain training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, TrainingStage, Work


@STAGES.register("train")
@dataclass(frozen=True, kw_only=True)
class Train(TrainingStage):
    """Trains the model as it is."""

    kind = "train"

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        spoilt = [stage.kind for stage in before if stage.compresses]
        if spoilt:
            raise UsageError(f"{place}: would undo the effect of {spoilt[-1]}; give that stage more epochs instead")

    @override
    def run(self, work: Work) -> Outcome:
        run = self.make_run(work, self.make_optimizer(work))
        self.train(work, run, self.epochs)
        return Outcome(run.history)
