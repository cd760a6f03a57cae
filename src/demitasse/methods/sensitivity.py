"""Sensitivity of each layer: what a model loses when only this layer is pruned or quantized, without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from numbers import Real

import torch
from torch import Tensor, nn

from demitasse.errors import MethodError
from demitasse.methods import pow2, selection, settings
from demitasse.methods.method import check_finite
from demitasse.methods.selection import Chosen
from demitasse.text_table import Column, TextTable, printable

Evaluate = Callable[[nn.Module], float]
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
BITS = (5, 4, 3, 2)


@dataclass(frozen=True)
class LayerSensitivity:
    """The sensitivity of one parameter.

    Attributes:
        name: as in the state_dict.
        entries: number of entries.
        by_sparsity: share of zeros -> the metric.
        by_bits: bits, sign and zero included -> the metric.
    """

    name: str
    entries: int
    by_sparsity: dict[float, float]
    by_bits: dict[int, float]


@dataclass(frozen=True)
class Sensitivity:
    """What :func:`sensitivity` measured; ``str()`` gives a table that fits the terminal, a notebook shows it as HTML.

    Attributes:
        dense: the metric of the unchanged model.
        layers: one for each parameter, in the order of the model.
    """

    dense: float
    layers: tuple[LayerSensitivity, ...]

    def proposal(self, tolerance: float | None = None, sparsity: float | None = None) -> dict[str, float]:
        """Returns targets by layer, for ``Surgery(sparsity=...)``.

        Each layer gets the largest sparsity at which it alone raises the metric by no more than the tolerance,
        interpolated linearly between the measured ones; 0 if every one raises it by more. If ``sparsity`` is given
        instead, the method solves for the least tolerance that gives it.

        Args:
            tolerance: the largest rise, in units of the metric.
            sparsity: the share of zeros of all layers together, 0 to 1.

        Returns:
            name -> share of zeros.

        Raises:
            MethodError: neither or both are given, a value is invalid, or the sparsity is above the measured ones.
        """
        if (tolerance is None) == (sparsity is None):
            found = "neither" if sparsity is None else "both"
            raise MethodError(f"expected one of tolerance and sparsity, found {found}")
        if tolerance is not None:
            settings.number("tolerance", tolerance, 0)
            return {layer.name: self._bearable(layer, tolerance) for layer in self.layers}
        assert sparsity is not None
        return self._solve(settings.share("sparsity", sparsity))

    def proposal_bits(self, tolerance: float) -> dict[str, int]:
        """Returns for each layer the least bits at which it alone raises the metric by no more than the tolerance.

        Args:
            tolerance: the largest rise, in units of the metric.

        Returns:
            name -> bits; the largest measured width if every width raises the metric by more.

        Raises:
            MethodError: the tolerance is invalid, or no bits were measured.
        """
        settings.number("tolerance", tolerance, 0)
        found = {}
        for layer in self.layers:
            if not layer.by_bits:
                raise MethodError("no bits were measured; call sensitivity with bits")
            fine = [bits for bits, metric in layer.by_bits.items() if metric - self.dense <= tolerance]
            found[layer.name] = min(fine, default=max(layer.by_bits))
        return found

    def _bearable(self, layer: LayerSensitivity, tolerance: float) -> float:
        before, rise_before = 0.0, 0.0
        for sparsity, metric in sorted(layer.by_sparsity.items()):
            rise = metric - self.dense
            if not rise <= tolerance:
                # an infinite metric ends the range, but cannot be interpolated
                part = (tolerance - rise_before) / (rise - rise_before) if rise_before < rise < math.inf else 0.0
                return before + max(part, 0.0) * (sparsity - before)
            before, rise_before = sparsity, rise
        return before

    def _solve(self, sparsity: float) -> dict[str, float]:
        rises = [metric - self.dense for layer in self.layers for metric in layer.by_sparsity.values()]
        low, high = 0.0, max([0.0, *filter(math.isfinite, rises)])
        best = self.proposal(high)
        if self._share(best) < sparsity:
            raise MethodError(f"sparsity is {sparsity:g}, but the largest measured gives {self._share(best):.4g}")
        for _ in range(60):
            middle = (low + high) / 2
            found = self.proposal(middle)
            if self._share(found) >= sparsity:
                high, best = middle, found
            else:
                low = middle
        return best

    def _share(self, targets: Mapping[str, float]) -> float:
        total = sum(layer.entries for layer in self.layers)
        return sum(targets[layer.name] * layer.entries for layer in self.layers) / total

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
    total, done = 1 + len(chosen) * (len(shares) + len(levels)), 0

    def measured() -> float:
        nonlocal done
        with _as_it_was(model):
            found = _metric(evaluate(model))
        done += 1
        if progress:
            progress(done, total)
        return found

    dense = measured()
    if not math.isfinite(dense):
        raise MethodError(f"evaluate returned {dense} for the unchanged model; expected a finite number")
    layers = []
    for item in chosen:
        with _restored(item) as (values, before):
            by_sparsity, by_bits = {}, {}
            for share in shares:
                _write(values, _pruned(before, share))
                by_sparsity[share] = measured()
            for width, count in levels.items():
                _write(values, _quantized(before, count))
                by_bits[width] = measured()
        layers.append(LayerSensitivity(item.name, item.parameter.numel(), by_sparsity, by_bits))
    return Sensitivity(dense, tuple(layers))


def _metric(value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise MethodError(f"evaluate returned {settings.shown(value)}; expected a number, where less is better")
    return float(value)


@contextmanager
def _restored(item: Chosen) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the values of a parameter and a copy of them; restores the copy at the end."""
    values = item.parameter.detach()
    before = values.clone()
    try:
        yield values, before
    finally:
        _write(values, before)


@torch.no_grad()
def _write(values: Tensor, new: Tensor) -> None:
    values.copy_(new)


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Restores buffers (statistics of batch norm) and modes after an evaluation."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, before in buffers:
            _write(buffer, before)


def _pruned(weight: Tensor, share: float) -> Tensor:
    """Returns the weight with this share of its entries 0, the smallest ones; among equal ones the first."""
    result = weight.clone(memory_format=torch.contiguous_format)
    smallest = result.abs().flatten().sort(stable=True).indices[: round(share * weight.numel())]
    result.view(-1)[smallest] = 0
    return result


def _quantized(weight: Tensor, levels: int) -> Tensor:
    largest = float(weight.abs().max())
    if not largest:
        return weight
    grid = pow2.grid(largest, levels)
    pow2.check_largest(grid.largest, weight.dtype, "sensitivity")
    return pow2.project(weight, grid)
