"""Sensitivity of each layer: what a model loses when only this layer is pruned or quantized, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from torch import nn

from demitasse.errors import MethodError
from demitasse.methods import pow2, selection, settings
from demitasse.methods.layer_sensitivity import LayerSensitivity
from demitasse.methods.method import check_finite
from demitasse.methods.proposal import Proposal
from demitasse.methods.proposing import Search
from demitasse.methods.trial import Evaluate, Trial
from demitasse.text_table import Column, TextTable, printable

__all__ = ["LayerSensitivity", "Sensitivity", "sensitivity"]

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
BITS = (5, 4, 3, 2)


@dataclass(frozen=True)
class Sensitivity:
    """What :func:`sensitivity` measured; ``str()`` gives a table that fits the terminal, a notebook shows it as HTML.

    Attributes:
        dense: the metric of the unchanged model.
        layers: one for each parameter, in the order of the model.
        trial: evaluates the model for :meth:`proposal`; None for measurements without a model.
    """

    dense: float
    layers: tuple[LayerSensitivity, ...]
    trial: Trial | None = field(default=None, repr=False, compare=False)

    def proposal(
        self,
        tolerance: float | None = None,
        sparsity: float | None = None,
        *,
        only: Literal["sparsity", "bits"] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Proposal:
        """Proposes targets for all layers, and measures the model with all of them.

        A layer's targets follow from a tolerance that all layers share: the largest sparsity, interpolated linearly
        between the measured ones, and the fewest measured bits at which it alone, pruned or quantized, raises the
        metric by no more. A layer that does not bear the widest measured width stays unquantized. The shared tolerance
        is solved for:

        - Given ``tolerance``, by bisection, with an evaluation of the model in every step, until the model with all
          layers pruned and quantized raises the metric by no more than ``tolerance``. Where even a shared tolerance
          of 0 is too much, the targets are eased further, to none at all if necessary.
        - Given ``sparsity``, so that all layers together have this share of zeros; the metric is then measured once.

        Args:
            tolerance: the largest rise of the metric by all layers together.
            sparsity: the share of zeros of all layers together, 0 to 1.
            only: proposes one of the two; None proposes all that was measured.
            progress: called after every evaluation with (evaluations done, most evaluations).

        Raises:
            MethodError: neither or both of tolerance and sparsity are given, a value is invalid, the sparsity is above
                the measured ones, what is to be proposed was not measured, or the model was changed since.
        """
        if (tolerance is None) == (sparsity is None):
            found = "neither" if sparsity is None else "both"
            raise MethodError(f"expected one of tolerance and sparsity, found {found}")
        if only is not None:
            settings.one_of("only", only, ("sparsity", "bits"))
        if progress is not None:
            settings.function("progress", progress)
        if sparsity is not None:
            share = settings.share("sparsity", sparsity)
            return self._search(only, True).of_sparsity(share)
        rise = settings.number("tolerance", tolerance, 0)
        return self._search(only, False).within(rise, progress)

    def _search(self, only: Literal["sparsity", "bits"] | None, has_sparsity: bool) -> Search:
        if only == "bits" and has_sparsity:
            raise MethodError("only is 'bits', but sparsity is given; expected a tolerance")
        needed = {only} | ({"sparsity"} if has_sparsity else set())
        for kind, name in (("sparsity", "sparsities"), ("bits", "bits")):
            if kind in needed and not all(getattr(layer, f"by_{kind}") for layer in self.layers):
                raise MethodError(f"no {name} were measured; call sensitivity with {name}")
        if self.trial is None:
            raise MethodError("these measurements have no model; call proposal on what sensitivity returned")
        self.trial.check_unchanged()
        return Search(self.layers, self.dense, self.trial, only)

    def as_plain(self) -> dict[str, object]:
        """Returns a dictionary of plain values, for JSON."""
        return {"dense": self.dense, "layers": [asdict(layer) for layer in self.layers]}

    def __str__(self) -> str:
        return printable(self.table())

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> TextTable:
        """Returns the table; it adapts to any width."""
        first = self.layers[0]
        headers = [f"{s:.3g} %" for s in (100 * share for share in first.by_sparsity)]
        headers += [f"{bits} bits" for bits in first.by_bits]
        columns = [Column("parameter"), Column("entries", 1), *map(Column, headers)]
        rows = []
        for layer in self.layers:
            numbers = [*layer.by_sparsity.values(), *layer.by_bits.values()]
            rows.append([layer.name, f"{layer.entries:,}", *(f"{number:.4g}" for number in numbers)])
        return TextTable(f"Each layer alone; unchanged: {self.dense:.4g}", columns, rows)


def sensitivity(
    model: nn.Module,
    evaluate: Evaluate,
    *,
    sparsities: Sequence[float] = SPARSITIES,
    bits: Sequence[int] = BITS,
    parameters: Sequence[selection.Pattern] | None = None,
    exclude: Sequence[selection.Pattern] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Prunes and quantizes one layer at a time and measures the model; restores it bit for bit afterwards.

    Prunes the smallest magnitudes; quantizes to zero and the nearest of 2^(bits - 2) powers of two of each sign.

    Args:
        model: any module.
        evaluate: returns the metric of the model, where less is better: an error, a loss.
        sparsities: shares of zeros to try, 0 to 1.
        bits: widths to try, sign and zero included.
        parameters: what to try, see :func:`demitasse.methods.selection.select`.
        exclude: what to leave out.
        progress: called after every evaluation with (evaluations done, all evaluations).

    Returns:
        The metric of the unchanged model, and the metrics of each layer.

    Raises:
        MethodError: a sparsity or width is invalid, a pattern matches nothing, there is nothing to try, or a weight or
            the metric of the unchanged model is not finite.

    Reference: Han, Pool, Tran, Dally 2015, Learning both Weights and Connections (arXiv 1506.02626), section 5.
    """
    settings.module("model", model)
    settings.function("evaluate", evaluate)
    if progress is not None:
        settings.function("progress", progress)
    shares = [settings.share("sparsities", value) for value in settings.listed("sparsities", sparsities, "shares")]
    widths = settings.listed("bits", bits, "whole numbers")
    levels = {width: pow2.levels_of_bits(width) for width in widths}
    if not (shares or levels):
        raise MethodError("neither sparsities nor bits are given; expected some to try")
    chosen = selection.select(model, parameters, exclude).chosen
    for item in chosen:
        check_finite(item)
        for count in levels.values():
            pow2.check_levels(count, None, item.parameter.dtype, item.name)
    trial = Trial(model, evaluate, chosen)
    total, done = 1 + len(chosen) * (len(shares) + len(levels)), 0

    def measured(sparsity: Mapping[str, float] | None = None, bits: Mapping[str, int] | None = None) -> float:
        nonlocal done
        found = trial.metric(sparsity or {}, bits or {})
        done += 1
        if progress:
            progress(done, total)
        return found

    dense = measured()
    if not math.isfinite(dense):
        raise MethodError(f"evaluate returned {dense} for the unchanged model; expected a finite number")
    layers = []
    for item in chosen:
        by_sparsity = {share: measured({item.name: share}) for share in shares}
        by_bits = {width: measured(bits={item.name: width}) for width in widths}
        layers.append(LayerSensitivity(item.name, item.parameter.numel(), by_sparsity, by_bits))
    return Sensitivity(dense, tuple(layers), trial)
