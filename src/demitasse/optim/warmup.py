"""Learning rate warm-up for any of torch's schedulers."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from demitasse.errors import MethodError
from demitasse.methods import settings


class WarmUp(LRScheduler):
    """Raises the learning rate from ``start`` to the rate of a scheduler, over the first steps.

    At step i < steps the rate of a group is min(rate, start + (rate - start) * i / steps), where ``rate`` is the rate
    of the scheduler (or of the optimizer) at that step: warm-up follows the scheduler, and a start above the rate has
    no effect. At all steps the rate is at least ``min_lr``.

    Use it in place of the scheduler: call ``step()`` where you would call the scheduler's.

    Args:
        optimizer: the optimizer whose rates to set.
        steps: number of steps of the warm-up; 0 for no warm-up.
        scheduler: any scheduler of the same optimizer, created before; None for the optimizer's own rates.
        start: the rate at step 0.
        min_lr: the smallest rate.

    Attributes:
        iteration: number of steps so far.
        rates: the rates of the scheduler, without warm-up, one for each group.

    Raises:
        MethodError: a setting is invalid, or the scheduler belongs to another optimizer.

    Reference: Goyal et al. 2017, Accurate, Large Minibatch SGD (arXiv 1706.02677), section 2.2.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        steps: int,
        scheduler: LRScheduler | None = None,
        *,
        start: float = 0.0,
        min_lr: float = 0.0,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise MethodError(f"optimizer is {settings.shown(optimizer)}; expected a torch.optim.Optimizer")
        steps = settings.whole("steps", steps, 0)
        for name, value in (("start", start), ("min_lr", min_lr)):
            settings.number(name, value, 0)
        if scheduler is not None and not isinstance(scheduler, LRScheduler):
            raise MethodError(f"scheduler is {settings.shown(scheduler)}; expected a learning-rate scheduler of torch")
        if scheduler is not None and scheduler.optimizer is not optimizer:
            raise MethodError("the scheduler belongs to another optimizer; expected one of this optimizer")
        # without LRScheduler's constructor, which would set rates and patch the optimizer's step
        self.optimizer, self.steps, self.scheduler = optimizer, steps, scheduler
        self.start, self.min_lr = start, min_lr
        self.iteration = 0
        self.rates = self._shown = self._current()
        self._set()

    def step(self, *arguments: Any) -> None:
        """Takes one step.

        A rate that somebody else has set since the last step counts as the scheduler's rate.

        Args:
            arguments: arguments of the scheduler's step, such as the metric of ReduceLROnPlateau; without a metric
                only the warm-up takes a step, so that it can be stepped more often.
        """
        current = self._current()
        known = [*zip(self.rates, self._shown, strict=True), *[(None, None)] * (len(current) - len(self.rates))]
        self._put(
            [now if own is None or now != shown else own for now, (own, shown) in zip(current, known, strict=True)]
        )
        if self.scheduler is not None and (arguments or not isinstance(self.scheduler, ReduceLROnPlateau)):
            self.scheduler.step(*arguments)
        self.rates = self._current()
        self.iteration += 1
        self._set()

    def get_last_lr(self) -> list[float | Tensor]:
        """Returns the current rates, one for each group."""
        return list(self._current())

    def state_dict(self) -> dict[str, object]:
        """Returns everything a resume needs, including the state of the scheduler."""
        inner = None if self.scheduler is None else self.scheduler.state_dict()
        return {"iteration": self.iteration, "rates": list(self.rates), "scheduler": inner}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state from :meth:`state_dict`, and sets the rates.

        Raises:
            MethodError: the state is not that of a WarmUp, or has another number of groups, or has a scheduler where
                there is none or none where there is one.
        """
        if not isinstance(state, dict) or not {"iteration", "rates", "scheduler"} <= state.keys():
            raise MethodError("the state is not that of a WarmUp; expected the result of its state_dict()")
        if len(state["rates"]) != len(self.rates) or (state["scheduler"] is None) != (self.scheduler is None):
            raise MethodError(
                f"the state has {len(state['rates'])} groups {_with(state['scheduler'])} scheduler; "
                f"expected {len(self.rates)} groups {_with(self.scheduler)} scheduler"
            )
        self.iteration, self.rates = state["iteration"], list(state["rates"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self._set()

    def _set(self) -> None:
        self._put([max(self._warmed(rate), self.min_lr) for rate in self.rates])
        self._shown = self._current()

    def _warmed(self, rate: float) -> float:
        if self.iteration >= self.steps:
            return rate
        return min(rate, self.start + (rate - self.start) * self.iteration / self.steps)

    def _current(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _put(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if hasattr(group["lr"], "fill_"):
                group["lr"].fill_(rate)  # keep the tensor, which a compiled step uses
            else:
                group["lr"] = rate


def _with(scheduler: object) -> str:
    return "without a" if scheduler is None else "with a"
