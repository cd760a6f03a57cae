"""Compresses a model without training, from a few hundred inputs without labels."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

import torch
from torch import Tensor, nn

from demitasse.errors import MethodError, SizeError
from demitasse.formats.states import save
from demitasse.methods import floors, pow2, selection, settings
from demitasse.methods.one_shot import allocation, masks
from demitasse.methods.one_shot.layer import Grid, GridKind, Per
from demitasse.methods.selection import Dense, Number, Pattern, unwrap
from demitasse.shrinking import fitting
from demitasse.shrinking.batches import Forward, batches_of, run, size_of
from demitasse.shrinking.choosing import chosen_grids
from demitasse.shrinking.job import Progress, Shrinking, ShrinkPlan, restore
from demitasse.shrinking.report import ShrinkReport, ShrunkParameter
from demitasse.shrinking.targets import ShrinkTarget, targets_of
from demitasse.shrinking.watching import ModelRunner, check_watchable, evaluating
from demitasse.shrinking.widths import distributed

Numbers = Number | Mapping[Pattern, Number]
Size = Callable[[nn.Module], int]

DEFAULT_BITS = 5


def shrink(
    model: nn.Module,
    calibration: object,
    *,
    sparsity: Numbers | None = None,
    bits: Numbers | None = None,
    max_bytes: int | None = None,
    grid: GridKind | None = None,
    per: Per | None = None,
    parameters: Sequence[Pattern] | None = None,
    exclude: Sequence[Pattern] = (),
    examples: int = 1024,
    forward: Forward | None = None,
    size: Size | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ShrinkReport:
    """Compresses a model in place without training, from a few hundred inputs without labels.

    Layer after layer is pruned and rounded, and the rest of its weight makes up for the errors, with the inputs that
    the part compressed before produces. Choose by ``sparsity`` and ``bits``, or by ``max_bytes``; with none of them,
    weights get 5 bits. The model is an ordinary module afterwards: ``demitasse.save`` writes the small file.

    Args:
        model: any module.
        calibration: a tensor with the examples along its first axis, or an iterable of batches, such as a DataLoader:
            tensors, tuples whose first entry is the input, or dicts of keyword arguments.
        sparsity: share of zeros, 0 to 1: one number for all chosen parameters together, distributed by what it costs
            the model; or a mapping of patterns to numbers.
        bits: bits of a code, sign and zero included, or a mapping of patterns to them. ``pow2`` then has 2^(bits - 2)
            powers of each sign, ``uniform`` 2^(bits - 1) - 1 multiples of its step; one number for ``uniform`` is the
            average of the weights that are not zero, distributed over the layers by what rounding costs the model.
        max_bytes: the most bytes of the ``.demi`` file; the loss is the smallest that fits.
        grid: ``pow2``: zero and powers of two, which all kernels and compact files take; ``uniform``: whole numbers
            times a step. By default the one with the smaller estimated loss at these bits; with ``max_bytes``,
            ``uniform``, which loses less in a file.
        per: ``tensor`` for one range of exponents, or one step, for each parameter; ``channel`` for one for each output
            channel. By default chosen for each layer by the estimated losses; with ``max_bytes``, ``tensor``. Where a
            batch normalization follows a layer, it takes up a factor for each channel in any case.
        parameters: what to compress, see :func:`demitasse.methods.selection.select`; by default the weights of all
            linear, convolution, attention and recurrent layers that are not tied to an embedding.
        exclude: what to leave as it is.
        examples: the most calibration examples to use.
        forward: runs the model on a batch, ``forward(model, batch)``, for models that are called in another way.
        size: returns the bytes of the model's file, for ``max_bytes``; by default the size of its ``.demi``.
        seed: of the random projections that weigh the layers.
        progress: called before each layer with (layers done, all layers, name of the layer).

    Returns:
        The report; ``print`` shows it as a table.

    Raises:
        DataError: there are no calibration inputs.
        MethodError: a setting is invalid, a pattern matches nothing, the inputs do not fit the model, values are not
            finite; the model is then unchanged. If anything else raises, the layers that are done stay compressed, all
            others are unchanged, and a note at the exception says so.
        SizeError: ``max_bytes`` cannot be met; the model is unchanged.

    Reference: Frantar et al. 2022, GPTQ (arXiv 2210.17323); Frantar and Alistarh 2023, SparseGPT (arXiv 2301.00774);
    Li et al. 2025, GPTAQ (arXiv 2504.02692); Conzelmann and Bamler 2025, CERWU (arXiv 2505.18758).
    """
    begin = time.monotonic()
    settings.module("model", model)
    check_watchable(model)
    request = _Request(sparsity, bits, max_bytes, grid, per)
    for name, function in (("forward", forward), ("size", size), ("progress", progress)):
        if function is not None:
            settings.function(name, function)
    bare = unwrap(model)
    targets, dense = request.targets(bare, parameters, exclude)
    batches = batches_of(calibration, settings.whole("examples", examples, 1))
    device = targets[0].dense.device if targets else torch.device("cpu")
    with evaluating(bare, device):
        job = Shrinking(
            ModelRunner(bare, forward or run, device), batches, targets, settings.whole("seed", seed), progress
        )
        for target in job.unseen:
            warnings.warn(f"shrink: {target.name} saw no input in the first batch and stays dense", stacklevel=2)
            dense.append(Dense(target.name, target.dense.numel(), "saw no input in the first batch", target.item.tied))
        if not job.targets:
            raise MethodError("no chosen parameter saw an input in the first batch; expected one that reaches them")
        measure = size or demi_size

        def measured(model: nn.Module) -> int:
            return settings.whole("what size returns", measure(model), 0)

        if max_bytes is None:
            rows, reached = job.compress(request.plan(job)), None
        else:
            rows, reached = _fitted(job, request, max_bytes, measured)
    floors.warn(
        {row.name: (row.kept, row.entries) for row in rows if floors.is_dying(row.entries, row.kept, None)},
        "shrink",
        "exclude such a layer, or leave more weights",
    )
    count = sum(map(size_of, batches))
    return ShrinkReport(request.words, count, tuple(rows), tuple(dense), reached, time.monotonic() - begin)


def check_shrink(
    model: nn.Module,
    *,
    sparsity: Numbers | None = None,
    bits: Numbers | None = None,
    max_bytes: int | None = None,
    grid: GridKind | None = None,
    per: Per | None = None,
    parameters: Sequence[Pattern] | None = None,
    exclude: Sequence[Pattern] = (),
) -> None:
    """Checks arguments of :func:`shrink` against a model, without running it.

    Raises:
        MethodError: a setting is invalid, a pattern matches nothing, or values are not finite.
    """
    _Request(sparsity, bits, max_bytes, grid, per).targets(unwrap(model), parameters, exclude)


def _fitted(job: Shrinking, request: _Request, max_bytes: int, measure: Size) -> tuple[list[ShrunkParameter], int]:
    """Compresses the model so that its file fits, with the smallest loss."""
    model, originals = job.runner.model, job.originals()
    other = fitting.rest(model, job.targets, measure)
    if other > max_bytes:
        raise SizeError(
            f"max_bytes is {max_bytes:,}, but even with zeros for all chosen weights the file has {other:,} bytes; "
            "the model is unchanged"
        )
    per = request.per or "tensor"
    best: dict[float, tuple[list[ShrunkParameter], dict[Tensor, Tensor]]] = {}

    def compressed(price: float) -> int:
        restore(originals)
        rows = job.compress(request.priced_plan(job, price))
        best[price] = rows, {tensor: tensor.detach().clone() for tensor in originals}
        return measure(model)

    try:
        price, reached = fitting.fitted_price(
            compressed, lambda price: other + fitting.predicted(job.targets, job.powers, price, per), max_bytes
        )
    except MethodError:
        restore(originals)
        raise
    rows, values = best[price]
    restore(values)
    return rows, reached


def demi_size(model: nn.Module) -> int:
    """Returns the bytes of the model's ``.demi`` file."""
    return save(model, BytesIO(), format="demi")


class _Request:
    """What the caller asked for, checked."""

    def __init__(
        self,
        sparsity: Numbers | None,
        bits: Numbers | None,
        max_bytes: int | None,
        grid: GridKind | None,
        per: Per | None,
    ) -> None:
        if max_bytes is not None:
            settings.whole("max_bytes", max_bytes, 1)
            if sparsity is not None or bits is not None:
                raise MethodError("found max_bytes with sparsity or bits; expected one or the other")
        if sparsity is not None:
            settings.each("sparsity", sparsity, settings.share)
        if grid is not None:
            settings.one_of("grid", grid, ("pow2", "uniform"))
        if per is not None:
            settings.one_of("per", per, ("tensor", "channel"))
        self.is_default = sparsity is None and bits is None and max_bytes is None
        self.sparsity, self.bits = sparsity, DEFAULT_BITS if self.is_default else bits
        if self.bits is not None:
            settings.each("bits", self.bits, lambda name, value: pow2.levels_of_bits(settings.whole(name, value)))
        self.max_bytes, self.per = max_bytes, per
        self.grid: GridKind | None = grid if max_bytes is None else grid or "uniform"
        self._why = ""

    def targets(
        self, model: nn.Module, parameters: Sequence[Pattern] | None, exclude: Sequence[Pattern]
    ) -> tuple[list[ShrinkTarget], list[Dense]]:
        """Returns what to compress, and what stays dense; checks that the request fits it."""
        for name, given in (("sparsity", self.sparsity), ("bits", self.bits)):
            if isinstance(given, Mapping):
                selection.check_patterns(model, name, given)
        targets, dense = targets_of(model, parameters, exclude)
        for target in targets:
            target.check()
            if self.grid == "pow2" and isinstance(self.bits, int):
                pow2.check_levels(pow2.levels_of_bits(self.bits), None, target.dense.dtype, target.name)
        return targets, dense

    @property
    def words(self) -> str:
        """The request in words, and what was chosen."""
        parts = []
        if self.sparsity is not None:
            given = "by layer" if isinstance(self.sparsity, Mapping) else f"{100 * self.sparsity:g} %"
            parts.append(f"zeros: {given}")
        if self.bits is not None:
            given = "by layer" if isinstance(self.bits, Mapping) else f"{self.bits}"
            if self.grid == "uniform" and not isinstance(self.bits, Mapping):
                given += " on average"
            parts.append(f"bits: {given}{' (the default)' if self.is_default else ''}")
            parts.append(f"grid: {self.grid}{self._why}")
        if self.max_bytes is not None:
            parts.append(f"at most {self.max_bytes:,} bytes, grid: {self.grid}")
        return ", ".join(parts)

    def plan(self, job: Shrinking) -> ShrinkPlan:
        """Returns the plan for ``sparsity`` and ``bits``."""
        cut = self._cut(job)
        names = [target.name for target in job.targets]
        if self.bits is None:
            return ShrinkPlan(cut, dict.fromkeys(names))
        assigned = selection.assign([target.item for target in job.targets], self.bits)
        widths = {name: int(width) for name, width in assigned.items()}
        scores = job.scores() if any(cut.values()) else {}
        lost = {name: masks.smallest(score, cut[name]) for name, score in scores.items()}
        found = chosen_grids(job.targets, widths, job.powers, lost, self.grid, self.per)
        self.grid = found.kind
        if found.totals:
            other: GridKind = "pow2" if found.kind == "uniform" else "uniform"
            share = found.totals[found.kind] / found.totals[other] if found.totals[other] else 1.0
            self._why = f" (chosen: {share:.2f} of the estimated loss of {other})"
        grids = found.grids
        if found.kind == "uniform" and isinstance(self.bits, int):
            grids = distributed(job.targets, job.powers, lost, grids)
        return ShrinkPlan(cut, {name: grids.get(name) for name in names}, losses=found.losses)

    def _cut(self, job: Shrinking) -> dict[str, int]:
        """Returns how many weights of each target to cut."""
        if isinstance(self.sparsity, Mapping):
            items = [target.item for target in job.targets]
            shares = selection.assign(items, self.sparsity)
            return {item.name: round(shares.get(item.name, 0.0) * item.parameter.numel()) for item in items}
        if self.sparsity is None:
            return dict.fromkeys((target.name for target in job.targets), 0)
        return allocation.zeros(job.scores(), float(self.sparsity))

    def priced_plan(self, job: Shrinking, price: float) -> ShrinkPlan:
        """Returns the plan for ``max_bytes`` at a price of a bit."""
        assert self.grid is not None
        levels = pow2.levels_of_bits(DEFAULT_BITS) if self.grid == "pow2" else None
        names = [target.name for target in job.targets]
        grid = Grid(self.grid, levels, self.per or "tensor")
        return ShrinkPlan(dict.fromkeys(names, 0), dict.fromkeys(names, grid), price)
