"""The moments of the inputs of layers, from runs of the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat

from torch import Tensor, nn

from demitasse.errors import MethodError
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.methods.one_shot.moments import InputMoments, Moments
from demitasse.methods.one_shot.sampling import Sample
from demitasse.methods.one_shot.views import View
from demitasse.shrinking.batches import padding_of, size_of
from demitasse.shrinking.positions import PositionWeights
from demitasse.shrinking.replay import Replay
from demitasse.shrinking.survey import Survey
from demitasse.shrinking.targets import ShrinkTarget
from demitasse.shrinking.watching import ModelRunner, copied, swapped

Call = tuple[Arguments, Named]

# how many windows of a convolution are enough: for each column of the weight, and at least; and of an example for means
_ENOUGH, _LEAST, _SOME = 128, 1 << 14, 64


def statistics_of(
    runner: ModelRunner,
    batches: Sequence[object],
    targets: Sequence[ShrinkTarget],
    seen: Survey,
    dense: Mapping[Tensor, Tensor],
    replay: Replay,
    weights: PositionWeights | None = None,
) -> dict[str, InputMoments]:
    """Returns the moments of the inputs of some targets, by name; those that see no input are missing.

    Args:
        runner: runs the model.
        batches: the batches.
        targets: the targets, compressed neither in the model nor in its dense state.
        seen: the survey of the model.
        dense: what compression has changed so far -> its dense values.
        replay: what need not be computed again.
        weights: how much the positions of each call count; those that are missing count 1.

    Raises:
        MethodError: inputs have NaN or infinite values.
    """
    views: dict[nn.Module, list[tuple[ShrinkTarget, View]]] = {}
    for target in targets:
        for view in target.views:
            if view.watched in seen.calls:
                views.setdefault(view.watched, []).append((target, view))
    calls = {module: seen.calls[module] for module in views}
    moments = {target.name: Moments() for target in targets}
    begin = min((seen.begins[module] for module in calls), default=0)
    examples = sum(map(size_of, batches))
    enough = {target.name: math.ceil(max(_ENOUGH * target.matrix.shape[2], _LEAST) / examples) for target in targets}
    for number, batch in enumerate(batches if calls else ()):
        left: Iterator[Call] = iter(())
        if dense:
            with swapped(dense), replay.skipping((number, "dense"), begin):
                left = iter(_calls(runner, batch, calls))
        padding = padding_of(batch)
        weighted = {module: iter(weights.get((number, module), ())) if weights else iter(()) for module in views}

        def add(
            module: nn.Module,
            arguments: Arguments,
            named: Named,
            left: Iterator[Call] = left,
            number: int = number,
            padding: Tensor | None = padding,
            weighted: Mapping[nn.Module, Iterator[Tensor]] = weighted,
        ) -> None:
            other, counts = next(left, None), next(weighted[module], None)
            for target, view in views[module]:
                sample = Sample(enough[target.name], number)
                _add(moments[target.name], view, (arguments, named), other, sample, padding, counts)

        with replay.skipping((number, "compressed"), begin):
            runner.watch(batch, calls, add)
    found = {name: one.statistics() for name, one in moments.items() if one.count}
    for name, one in found.items():
        if not bool(one.hessian.isfinite().all()):
            raise MethodError(f"{name}: the inputs of its layer have NaN or infinite values; expected finite ones")
    return found


def _calls(runner: ModelRunner, batch: object, calls: Mapping[nn.Module, int]) -> list[Call]:
    """Returns copies of the arguments of the watched calls."""
    found: list[Call] = []
    runner.watch(batch, calls, lambda module, arguments, named: found.append(copied(arguments, named)))
    return found


def _add(
    moments: Moments,
    view: View,
    call: Call,
    dense: Call | None,
    sample: Sample,
    padding: Tensor | None,
    weights: Tensor | None,
) -> None:
    parts = _columns(view, call, sample, padding)
    others = repeat(None) if dense is None else _columns(view, dense, sample, padding)
    if weights is not None:
        is_padded = padding is not None and weights.shape == padding.shape
        weights = weights[~padding.to(weights.device)] if padding is not None and is_padded else weights.flatten()
    begin = 0
    for part, other in zip(parts, others, strict=dense is not None):
        end = begin + part.shape[2]
        moments.add(part, other, weights if weights is None else weights[begin:end])
        begin = end


def _columns(view: View, call: Call, sample: Sample, padding: Tensor | None) -> Iterator[Tensor]:
    """Yields the columns of a call; of layers that work position by position, without those of padding."""
    if padding is None or not view.by_position:
        return view.columns(*call, sample)
    arguments, named = (_unpadded(value, padding) for value in call[0]), call[1].items()
    return view.columns(tuple(arguments), {name: _unpadded(value, padding) for name, value in named}, sample)


def _unpadded(value: object, padding: Tensor) -> object:
    if not isinstance(value, Tensor) or value.ndim != 3 or value.shape[:2] != padding.shape:
        return value
    return value[~padding.to(value.device)]


def powers_of(
    runner: ModelRunner, batches: Sequence[object], targets: Sequence[ShrinkTarget], seen: Survey
) -> dict[str, Tensor]:
    """Returns the mean squares of the inputs of the dense model, (groups, columns), by name of target."""
    views: dict[nn.Module, list[tuple[ShrinkTarget, View]]] = {}
    for target in targets:
        for view in target.views:
            if view.watched in seen.calls:
                views.setdefault(view.watched, []).append((target, view))
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(turn: int, padding: Tensor | None, module: nn.Module, arguments: Arguments, named: Named) -> None:
        for target, view in views[module]:
            for part in _columns(view, (arguments, named), Sample(_SOME, turn), padding):
                squares = part.float().square().sum(2).double()
                sums[target.name] = sums[target.name] + squares if target.name in sums else squares
                counts[target.name] = counts.get(target.name, 0) + part.shape[2]

    for turn, batch in enumerate(batches):
        runner.watch(batch, {module: seen.calls[module] for module in views}, partial(add, turn, padding_of(batch)))
    return {name: total / counts[name] for name, total in sums.items()}
