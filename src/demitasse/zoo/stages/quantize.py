"""Training while one portion of the weights after the other is frozen at powers of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import UsageError
from demitasse.methods import selection, settings
from demitasse.methods.incremental import CHOICES, IncrementalQuantization, levels_of
from demitasse.methods.magnitude import MagnitudePruning
from demitasse.methods.method import Method
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, TrainingStage, Work, at


@STAGES.register("quantize")
@dataclass(frozen=True, kw_only=True)
class Quantize(TrainingStage):
    """Incremental Network Quantization; trains ``epochs`` epochs after every portion.

    Zeros stay zero, also those of layers that are not quantized.

    Attributes:
        bits: bits of a weight, as in the paper: 2^(bits - 2) powers, two signs, and zero; one number for all, or one
            for each name pattern.
        exponents: instead of ``bits``: the number of powers, or the smallest and the largest exponent.
        portions: the frozen share of the weights after each portion, increasing to 1.
        partition: ``magnitude`` freezes the largest weights first, ``random`` a random choice.
        per: ``tensor`` for one grid for each parameter, ``channel`` for one for each output channel.
        fit: ``largest``: the grid ends at the largest weight; ``error``: it has the least squared error.
        parameters: name patterns of what to quantize; empty for the weights of linear and convolution layers.
        exclude: name patterns of what not to quantize.
    """

    kind = "quantize"
    compresses = True
    proposed = ("bits",)

    bits: int | dict[str, int] | None = None
    exponents: int | tuple[int, ...] | None = None
    portions: tuple[float, ...] = (0.5, 0.75, 0.9, 1.0)
    partition: str = "magnitude"
    per: str = "tensor"
    fit: str = "largest"
    parameters: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        if isinstance(self.exponents, tuple) and len(self.exponents) != 2:
            raise UsageError(f"{place}: exponents is {list(self.exponents)}; expected the smallest and the largest")
        with at(place):
            levels_of(self.bits, self.exponents)
            for value in settings.listed("portions", self.portions, "increasing shares"):
                settings.share("portions", value)
            for key, known in CHOICES.items():
                settings.one_of(key, getattr(self, key), known)
        if not self.portions or sorted(set(self.portions)) != list(self.portions) or not self.portions[0]:
            raise UsageError(
                f"{place}: portions is {list(self.portions)}; expected increasing shares, the first above 0"
            )

    @override
    def rehearse(self, work: Work) -> None:
        self._attached(work, self.make_optimizer(work))

    def _attached(self, work: Work, optimizer: Optimizer) -> IncrementalQuantization:
        return IncrementalQuantization(work.model, optimizer, seed=work.seed, **self._settings())

    @override
    def run(self, work: Work) -> Outcome:
        optimizer = self.make_optimizer(work)
        method = self._attached(work, optimizer)
        zeros = _zeros_of_others(work.model, method)
        methods: dict[str, Method] = {self.kind: method}
        if zeros:
            methods["zeros"] = MagnitudePruning(
                work.model, optimizer, sparsity=zeros, parameters=list(zeros), ramp=0, floor=0.0, keep_zeros=True
            )
        run = self.make_run(work, optimizer, methods, cycles=len(self.portions))
        for portion in method:
            self.train(work, run, self.epochs * (1 + self.portions.index(portion)))
        report = method.report()
        for each in methods.values():
            each.finish()
        return Outcome(run.history, report.as_plain())

    def _settings(self) -> dict[str, Any]:
        return {
            "bits": self.bits,
            "exponents": self.exponents,
            "portions": self.portions,
            "partition": self.partition,
            "per": self.per,
            "fit": self.fit,
            "parameters": list(self.parameters) or None,
            "exclude": self.exclude,
        }


def _zeros_of_others(model: nn.Module, method: Method) -> dict[selection.Pattern, float]:
    """Returns the shares of zeros of the weights that a method does not compress, without those that have none.

    Earlier stages have cut them, and no method holds them at zero any more.
    """
    known = {id(record.parameter) for record in method.records.values()}
    shares: dict[selection.Pattern, float] = {}
    for name, parameter in selection.named_parameters(model).items():
        if parameter.ndim > 1 and parameter.requires_grad and id(parameter) not in known:
            known.add(id(parameter))  # once, if it is tied
            zeros = parameter.numel() - int(parameter.count_nonzero())
            shares |= {name: zeros / parameter.numel()} if zeros else {}
    return shares
