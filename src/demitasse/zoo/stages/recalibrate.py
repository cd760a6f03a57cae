"""Measures the statistics of batch normalization again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from typing_extensions import override

from demitasse.methods import settings
from demitasse.methods.batch_norm import recalibrate_batch_norm
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, Work, at


@STAGES.register("recalibrate")
@dataclass(frozen=True, kw_only=True)
class Recalibrate(Stage):
    """Replaces mean and variance of every batch normalization by those of some training batches.

    Attributes:
        batches: number of batches, at most those of an epoch.
    """

    kind = "recalibrate"

    batches: int = 100

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        with at(place):
            settings.whole("batches", self.batches, 1)

    @override
    def run(self, work: Work) -> Outcome:
        recalibrate_batch_norm(work.model, islice(work.data.train_batches(work.offset), self.batches))
        return Outcome()
