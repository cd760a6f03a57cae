"""Dynamic Network Surgery: cuts small weights during training, and splices back those that grow.

Reference: Guo, Yao, Chen 2016, Dynamic Network Surgery for Efficient DNNs (arXiv 1608.04493).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from demitasse.errors import MethodError
from demitasse.methods import counts, floors, selection, settings, shards
from demitasse.methods.exchange import Scales
from demitasse.methods.floors import FLOOR
from demitasse.methods.pruning import Numbers, Pruning, Scope
from demitasse.methods.records import CUT, FREE, FROZEN, PRUNED, Record
from demitasse.methods.schedule import Ramp, uniform


@dataclass(frozen=True)
class Schedule:
    """The schedule of surgery on one layer.

    Attributes:
        c_rate: the threshold is this number of standard deviations above the mean magnitude.
        gamma: the probability of surgery is (1 + gamma * iteration)^-power.
        power: see ``gamma``.
        iter_stop: surgery ends at this iteration; if it is negative, there is none.
        alpha_low: kept weights up to this multiple of the threshold are cut.
        alpha_high: cut weights above this multiple of the threshold are spliced back.

    Raises:
        MethodError: a value is NaN or out of range.
    """

    c_rate: float
    gamma: float = 0.001
    power: float = 1.0
    iter_stop: float = math.inf
    alpha_low: float = 0.95
    alpha_high: float = 1.05

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isnan(value):
                raise MethodError(f"{name} is NaN; expected a number")
        if self.gamma < 0:
            raise MethodError(f"gamma is {self.gamma:g}; expected 0 or more")
        if not 0 <= self.alpha_low <= self.alpha_high:
            raise MethodError(
                f"alpha_low is {self.alpha_low:g} and alpha_high {self.alpha_high:g}; "
                "expected 0 <= alpha_low <= alpha_high"
            )

    def operates(self, iteration: int, drawn: float) -> bool:
        """Returns whether surgery takes place at an iteration.

        Args:
            iteration: counted from 0.
            drawn: a uniform random number in 0..1.
        """
        return iteration < self.iter_stop and probability(iteration, self.gamma, self.power) > drawn

    def bounds(self, statistics: Statistics) -> tuple[float, float]:
        """Returns the magnitudes (a, b) of :func:`decide`, in units of the weights."""
        t = np.float32(threshold(statistics, self.c_rate))
        return float(np.float32(self.alpha_low) * t), float(np.float32(self.alpha_high) * t)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of the magnitudes of a layer's kept weights, in units of the weights."""

    mean: float
    deviation: float


def statistics(values: Sequence[Tensor], masks: Sequence[Tensor]) -> Statistics:
    """Returns the statistics of the kept non-zero entries of all tensors together.

    mean = sum |w| / n, deviation = sqrt((sum w^2 - n mean^2) / n). Like the original, it adds the entries one after
    the other in float32: a more exact mean would move the threshold enough to change masks. (Over tens of millions of
    entries such sums stall and the mean is too small, in the original too.) Without nonzero entries both are 0; a
    variance that rounding makes negative counts as 0.

    Args:
        values: float tensors of any shape, such as weight and bias.
        masks: bool tensors of the same shapes, True = kept.
    """
    flat = np.concatenate([_numbers(v * m) for v, m in zip(values, masks, strict=True)])
    count = np.float32(np.count_nonzero(flat))
    if not count:
        return Statistics(0.0, 0.0)
    mean = np.abs(flat).cumsum(dtype=np.float32)[-1] / count
    variance = (np.square(flat).cumsum(dtype=np.float32)[-1] - count * mean * mean) / count
    return Statistics(float(mean), float(np.sqrt(np.maximum(variance, np.float32(0)))))


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32).contiguous().numpy().ravel()


def threshold(statistics: Statistics, c_rate: float) -> float:
    """Returns t = max(mean + c_rate * deviation, 0), computed in float32.

    Reference: Guo 2016, section 3.3.
    """
    t = np.float32(statistics.mean) + np.float32(c_rate) * np.float32(statistics.deviation)
    return float(max(t, np.float32(0)))


def probability(iteration: int, gamma: float, power: float) -> float:
    """Returns the probability (1 + gamma * iteration)^-power of surgery at an iteration.

    Reference: Guo 2016, section 3.3.
    """
    return float((1 + gamma * iteration) ** -power)


def decide(weight: Tensor, mask: Tensor, low: float, high: float) -> Tensor:
    """Returns the new mask: cuts kept entries up to ``low``, splices back cut ones above ``high``.

    Keeps NaN entries, so that a diverged run does not look healthy.

    Reference: Guo 2016, equation (3).

    Args:
        weight: dense values, any shape.
        mask: bool, same shape, True = kept.
        low: a = alpha_low * t, in units of the weights.
        high: b = alpha_high * t, in units of the weights; entries between the two keep their mask.

    Returns:
        bool, same shape.
    """
    magnitude = weight.abs()
    return ~torch.where(mask, magnitude <= low, magnitude <= high)


class Surgery(Pruning):
    """Dynamic Network Surgery on any module: cuts weights during training, and splices back those that grow.

    Cut weights are 0 in the module, but keep learning in a reserve: their gradient is that of the masked weight, and
    momentum and weight decay act on them as on all others. After step i, with probability (1 + gamma * i)^-power and
    only while i < stop, the method sets a threshold t, and

        cuts kept weights with |w| <= alpha_low * t,    splices back cut weights with |w| > alpha_high * t.

    With ``sparsity``, it solves for the t that gives exactly the share of zeros that the ramp requires at step i.
    With ``c_rate``, t = max(mean + c_rate * deviation, 0) of the magnitudes of each parameter at its first decision.

    Args:
        model: any module.
        optimizer: the optimizer or optimizers that train the model; the first one counts the steps.
        sparsity: the final share of zeros, 0 to 1: one number for all chosen parameters together, or a mapping of
            patterns to numbers; each parameter gets the number of the first pattern that matches it.
        c_rate: the threshold in standard deviations above the mean, instead of sparsity: a number or a mapping.
        parameters: what to operate on, see :func:`demitasse.methods.selection.select`; by default what the patterns of
            a mapping match, or else the weights of linear and convolution layers.
        exclude: what to leave dense.
        scope: with one sparsity, ``global``: one threshold for all parameters; ``layer``: the sparsity in each one.
        begin: the step at which surgery begins.
        ramp: the number of steps until the sparsity is reached, on a cubic curve.
        gamma: how fast surgery becomes rare; with 0 it takes place after every step.
        power: see ``gamma``: the probability is (1 + gamma * i)^-power.
        stop: the step at which surgery ends; weights that are cut then stay cut. None for no end.
        alpha_low: kept weights up to this multiple of the threshold are cut.
        alpha_high: cut weights above this multiple of the threshold are spliced back.
        floor: the least share to keep in each layer, as far as the total sparsity allows.
        keep_zeros: whether weights that are zero when the method is attached stay zero. None: only in parameters with
            more than 10 % and less than 100 % zeros, which were pruned before. The report names them.
        seed: for the random draws; a distributed run uses the seed of rank 0.

    Raises:
        MethodError: a setting is invalid, a pattern matches nothing, or a parameter already has a pruning method.

    Reference: Guo 2016, sections 3.2 and 3.3; the ramp: Zhu and Gupta 2017 (arXiv 1710.01878), equation (1). Solving
    for the threshold is ours.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        *,
        sparsity: Numbers | None = None,
        c_rate: Numbers | None = None,
        parameters: Sequence[selection.Pattern] | None = None,
        exclude: Sequence[selection.Pattern] = (),
        scope: Scope = "global",
        begin: int = 0,
        ramp: int = 1000,
        gamma: float = 0.001,
        power: float = 1.0,
        stop: int | None = None,
        alpha_low: float = 0.95,
        alpha_high: float = 1.05,
        floor: float = FLOOR,
        keep_zeros: bool | None = None,
        seed: int = 0,
    ) -> None:
        values = _one_of(sparsity, c_rate)
        self.by = "sparsity" if c_rate is None else "c_rate"
        settings.each(self.by, values, settings.share if c_rate is None else settings.number)
        limit = math.inf if stop is None else settings.steps("stop", stop)
        settings.steps("ramp", ramp)
        way = Ramp(begin, ramp if c_rate is None else 0)
        for name, value in (("gamma", gamma), ("power", power), ("alpha_low", alpha_low), ("alpha_high", alpha_high)):
            settings.number(name, value, 0)
        if alpha_low == 0:
            raise MethodError("alpha_low is 0, which would cut nothing; expected a positive number")
        # its iterations count from ``begin``; every parameter has its own rate, in c_rates
        self.schedule = Schedule(0.0, gamma, power, limit - way.begin, alpha_low, alpha_high)
        if c_rate is None and limit <= way.end:
            raise MethodError(f"stop is {stop}, but the ramp ends at step {way.end}; expected a later step")
        self._scales = Scales(1 / alpha_low, 1 / alpha_high)
        self._statistics: dict[str, Statistics] = {}
        targets = [] if c_rate is not None else list(values.values()) if isinstance(values, Mapping) else [values]
        floor = floors.checked(floor, targets)
        super().__init__(model, optimizer, values, parameters, exclude, scope, way, floor, keep_zeros, seed)
        self.targets, self.c_rates = (self._values, {}) if c_rate is None else ({}, self._values)

    @override
    def decide(self, skip: Tensor | None) -> None:
        since = self.iteration - self.ramp.begin
        # the end of the ramp leaves nothing to chance: the target must be met
        due = bool(self.targets) and self.iteration == self.ramp.end
        if since < 0 or not (due or self.schedule.operates(since, uniform(self.seed, self.iteration))):
            return
        if self.targets:
            self.cut_to_target(self._scales, CUT, skip)
            return
        live = {name: record for name, record in self.records.items() if record.is_live}
        bounds = {name: threshold(self._statistics_of(record), self.c_rates[name]) for name, record in live.items()}
        self.cut_up_to(bounds, self._scales, skip)

    def _statistics_of(self, record: Record) -> Statistics:
        """Returns the statistics of a parameter, computed once, at its first decision."""
        if record.name not in self._statistics:
            found = Statistics(*counts.mean_and_deviation([(record.parameter, record.values)]))
            if math.isnan(found.mean):
                raise MethodError(f"weights of {record.name} are not finite; the run diverged")
            self._statistics[record.name] = found
        return self._statistics[record.name]

    @override
    def record_state(self, record: Record) -> dict[str, Tensor]:
        known = self._statistics.get(record.name, _NOT_TAKEN)
        kept = (record.status != CUT) & (record.status != PRUNED)
        return {
            "mask": shards.like(record.parameter, kept.contiguous()),
            "reserve": shards.like(record.parameter, record.ensure_reserve().contiguous().clone()),
            "statistics": torch.tensor([known.mean, known.deviation], dtype=torch.float64),
            **self.zeros_state(record),
        }

    @override
    def load_record_state(self, record: Record, saved: dict[str, Tensor]) -> None:
        statistics = Statistics(*saved["statistics"].tolist())
        self._statistics.pop(record.name, None)
        if statistics != _NOT_TAKEN:
            self._statistics[record.name] = statistics
        kept = self._part(record, "mask", saved["mask"]).bool()
        self.load_zeros_state(record, saved)
        # keep what another method froze, or pruned when freezing began, unless the mask differs: this may be a rollback
        frozen = torch.tensor(record.has_frozen, device=kept.device)
        fixed = torch.where(kept, record.status == FROZEN, (record.status == PRUNED) & frozen)
        state = torch.where(kept, FREE, CUT).to(torch.uint8)
        if "pruned" in saved:
            state.masked_fill_(self._part(record, "pruned", saved["pruned"]).bool() & ~kept, PRUNED)
        record.restore(torch.where(fixed, record.status, state), self._part(record, "reserve", saved["reserve"]))


_NOT_TAKEN = Statistics(-1.0, -1.0)


def _one_of(sparsity: Numbers | None, c_rate: Numbers | None) -> Numbers:
    if sparsity is not None and c_rate is not None:
        raise MethodError("both sparsity and c_rate are given; expected one of them")
    if sparsity is not None:
        return sparsity
    if c_rate is not None:
        return c_rate
    raise MethodError("neither sparsity nor c_rate is given; expected one of them")
