"""Compression without training: prunes and rounds weights, and the rest of each layer makes up for the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.methods import pow2, settings
from demitasse.progress import ProgressBar
from demitasse.shrinking import check_shrink, shrink
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, Work, at


@STAGES.register("shrink")
@dataclass(frozen=True, kw_only=True)
class Shrink(Stage):
    """Compresses the model by :func:`demitasse.shrink`, on training inputs without their labels.

    Attributes:
        sparsity: the share of zeros: one number for all layers together, or one for each name pattern.
        bits: bits of a weight, sign and zero included: one number for all, or one for each name pattern.
        max_bytes: instead of both, the most bytes of the ``.demi`` file.
        grid: ``pow2``: zero and powers of two, as INQ has them; ``uniform``: whole numbers times a step; empty for the
            one that loses less.
        per: ``tensor`` for one range of powers or one step for each parameter, ``channel`` for one for each channel;
            empty for what loses less in each layer.
        examples: the number of training examples to calibrate with.
        parameters: name patterns of what to compress; empty for the weights of all known kinds of layers.
        exclude: name patterns of what to leave as it is.
    """

    kind = "shrink"
    compresses = True
    proposed = ("sparsity", "bits")

    sparsity: float | dict[str, float] | None = None
    bits: int | dict[str, int] | None = None
    max_bytes: int | None = None
    grid: str = ""
    per: str = ""
    examples: int = 1024
    parameters: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        with at(place):
            settings.whole("examples", self.examples, 1)
            settings.one_of("grid", self.grid, ("pow2", "uniform", ""))
            settings.one_of("per", self.per, ("tensor", "channel", ""))
            if self.sparsity is not None:
                settings.each("sparsity", self.sparsity, settings.share)
            if self.bits is not None:
                settings.each("bits", self.bits, lambda name, bits: pow2.levels_of_bits(settings.whole(name, bits)))
            if self.max_bytes is not None:
                settings.whole("max_bytes", self.max_bytes, 1)
        if self.max_bytes is not None and (self.sparsity is not None or self.bits is not None):
            raise UsageError(f"{place}: found max_bytes with sparsity or bits; expected one or the other")
        if any(stage.kind == "quantize" for stage in before):
            raise UsageError(f"{place}: comes after quantize, whose powers of two it would change; expected it before")

    @override
    def rehearse(self, work: Work) -> None:
        check_shrink(work.model, **self._settings())

    def _settings(self) -> dict[str, Any]:
        return {
            "sparsity": self.sparsity,
            "bits": self.bits,
            "max_bytes": self.max_bytes,
            "grid": self.grid or None,
            "per": self.per or None,
            "parameters": self.parameters or None,
            "exclude": self.exclude,
        }

    @override
    def run(self, work: Work) -> Outcome:
        with ProgressBar(self.name or self.kind) as bar:
            report = shrink(
                work.model,
                work.data.train_batches(work.offset),
                **self._settings(),
                examples=self.examples,
                seed=work.seed,
                progress=lambda done, total, name: bar.update(done, total, note=name),
            )
        # the time is that of this run, not of the result
        return Outcome(report={key: value for key, value in report.as_plain().items() if key != "seconds"})
