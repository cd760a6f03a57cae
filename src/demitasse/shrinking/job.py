"""A model, what is known about its layers, and the walk over them that compresses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from demitasse.errors import DemitasseError
from demitasse.methods.one_shot.absorbers import Absorber
from demitasse.methods.one_shot.layer import Compressed, Freedom, Grid, compress
from demitasse.methods.one_shot.moments import InputMoments
from demitasse.methods.one_shot.views import View
from demitasse.shrinking.batches import parted
from demitasse.shrinking.choosing import Losses
from demitasse.shrinking.importance import SMALL, importances
from demitasse.shrinking.inputs import powers_of, statistics_of
from demitasse.shrinking.positions import position_weights
from demitasse.shrinking.replay import Replay
from demitasse.shrinking.report import ShrunkParameter
from demitasse.shrinking.survey import survey
from demitasse.shrinking.targets import ShrinkTarget
from demitasse.shrinking.watching import ModelRunner

Progress = Callable[[int, int, str], None]

_PROBED = 256  # examples that tell the importances
_ZEROS = 0.1  # share of zeros above which a weight counts as pruned before


@dataclass(frozen=True)
class ShrinkPlan:
    """What to do with each target, by name.

    Attributes:
        cut: number of weights to cut.
        grids: the grid; None to prune only.
        price: what a bit costs, in units of the model's loss.
        losses: the estimated losses of the grids that were considered, for the report.
    """

    cut: Mapping[str, int]
    grids: Mapping[str, Grid | None]
    price: float = 0.0
    losses: Mapping[str, Losses] = field(default_factory=dict)


class Shrinking:
    """A model, its calibration inputs, and what is known about its layers.

    Args:
        runner: runs the model.
        batches: the calibration inputs.
        targets: what to compress.
        seed: of everything that is random.
        progress: called before each layer with (layers done, all layers, name of the layer).
    """

    def __init__(
        self,
        runner: ModelRunner,
        batches: Sequence[object],
        targets: Sequence[ShrinkTarget],
        seed: int,
        progress: Progress | None,
    ) -> None:
        self.runner, self.batches, self.progress = runner, batches, progress
        names = {view.watched: target.name for target in targets for view in target.views}
        self.seen = survey(runner, batches[0], names)
        self.targets = [one for one in targets if any(view.watched in self.seen.calls for view in one.views)]
        self.unseen = [one for one in targets if one not in self.targets]
        self.targets.sort(key=self._place)
        self._few = parted(batches, SMALL, _PROBED)
        self.powers = powers_of(runner, self._few, self.targets, self.seen)
        costs = importances(runner, self._few, self.targets, self.powers, seed)
        self._weights = position_weights(runner, batches, self.targets, seed)
        for target in self.targets:
            if len(target.views) == 1:
                target.absorber = self._absorber(target.views[0])
            found = costs.get(target.name, torch.ones(target.matrix.shape[:2], dtype=torch.float64))
            target.importance = found.to(target.dense.device)
            nonzero = target.matrix != 0
            if _ZEROS < 1 - float(nonzero.double().mean()) < 1:
                target.zeros = ~nonzero

    def _place(self, target: ShrinkTarget) -> tuple[int, int]:
        first = min(self.seen.first[view.watched] for view in target.views if view.watched in self.seen.first)
        return first, target.views[0].turn

    def _absorber(self, view: View) -> Absorber | None:
        axes, found = self.seen.absorbers.get(view.home.module, (0, None))
        # absorbers have their channels along axis 1
        return found if view.channel_axis is not None and view.channel_axis == 1 - axes else None

    def scores(self) -> dict[str, Tensor]:
        """Returns what cutting each weight alone costs the model, (groups, rows, columns) by name of target."""
        found = {}
        for target in self.targets:
            squares = target.matrix.double().square() * target.importance.unsqueeze(2)
            found[target.name] = (
                squares * self.powers[target.name].unsqueeze(1) if target.name in self.powers else squares
            )
        return found

    def originals(self) -> dict[Tensor, Tensor]:
        """Returns copies of all tensors that compression changes."""
        return {tensor: tensor.detach().clone() for target in self.targets for tensor in target.dependents}

    def compress(self, plan: ShrinkPlan) -> list[ShrunkParameter]:
        """Compresses the model, layer after layer, with the inputs that the compressed part of it produces.

        After an error in the input, the model is as it was. If anything else raises, the layers that are done stay
        compressed, and a note at the exception says so.
        """
        dense: dict[Tensor, Tensor] = {}
        rows: list[ShrunkParameter] = []
        replay = Replay(self.runner.model, self.seen)
        groups: dict[tuple[int, int], list[ShrinkTarget]] = {}
        for target in self.targets:
            groups.setdefault(self._place(target), []).append(target)
        try:
            for group in groups.values():
                if self.progress:
                    self.progress(len(rows), len(self.targets), group[0].name)
                found = statistics_of(self.runner, self.batches, group, self.seen, dense, replay, self._weights)
                for target in group:
                    result = self._compressed(target, found.get(target.name), plan)
                    before = {tensor: tensor.detach().clone() for tensor in target.dependents}
                    target.write(result)
                    if plan.price:
                        target.shorten()
                    dense.update(before)
                    rows.append(_row(target, result, plan))
        except DemitasseError:
            restore(dense)
            raise
        except BaseException as error:
            error.add_note(
                f"shrink: {len(rows)} of {len(self.targets)} parameters are compressed, the others are unchanged"
            )
            raise
        return rows

    def _compressed(self, target: ShrinkTarget, statistics: InputMoments | None, plan: ShrinkPlan) -> Compressed:
        matrix = target.matrix
        return compress(
            matrix,
            statistics or _unknown(matrix),
            target.importance,
            grid=plan.grids[target.name],
            cut=plan.cut[target.name],
            zeros=target.zeros,
            price=plan.price,
            freedom=target.freedom if statistics else Freedom(),
        )


@torch.no_grad()
def restore(values: Mapping[Tensor, Tensor]) -> None:
    """Gives tensors their former values back: tensor -> values."""
    for tensor, before in values.items():
        tensor.copy_(before)


def _unknown(matrix: Tensor) -> InputMoments:
    """Returns the moments of inputs of which nothing is known: independent, with variance 1."""
    groups, _, columns = matrix.shape
    eye = torch.eye(columns, dtype=torch.float64, device=matrix.device).expand(groups, columns, columns)
    mean = eye.new_zeros(groups, columns)
    return InputMoments(eye, torch.zeros_like(eye), mean, mean, 1)


def _row(target: ShrinkTarget, found: Compressed, plan: ShrinkPlan) -> ShrunkParameter:
    grid = plan.grids[target.name]
    values = target.item.parameter.detach()
    weights = target.importance
    energy = float((found.energy * weights).sum())
    cost = float((found.loss * weights).sum())
    return ShrunkParameter(
        target.name,
        tuple(values.shape),
        values.numel(),
        int(values.count_nonzero()),
        int((torch.unique(values) != 0).sum()),
        grid.kind if grid else None,
        grid.per if grid else None,
        {f"{kind} {per}": loss for (kind, per), loss in plan.losses.get(target.name, {}).items()},
        cost / energy if energy else 0.0,
        cost,
    )
