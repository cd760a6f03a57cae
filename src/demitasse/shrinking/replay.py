"""Keeps outputs of the parts of a model that no longer change, so that its later runs need not compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from demitasse.shrinking.survey import Survey

# a forward hook
Keep = Callable[[nn.Module, object, object], None]

MEMORY = 1 << 31  # bytes of outputs to keep, at most


class Replay:
    """The kept outputs of a model for each of its batches.

    A module is finished if its call ends before anything that still changes. What only finished modules use need not
    be kept: an empty view of the right shape stands for it.

    Args:
        model: the model.
        seen: where its outputs are used.
        memory: the most bytes to keep.
    """

    def __init__(self, model: nn.Module, seen: Survey, memory: int = MEMORY) -> None:
        self._seen, self._memory = seen, memory
        self._inside = {module: set(module.modules()) - {module} for module in model.modules()}
        self._kept: dict[object, dict[nn.Module, Tensor]] = {}
        self._shapes: dict[object, dict[nn.Module, Tensor]] = {}
        # the last call to end comes first, so that what uses an output comes before what made it
        self._order = sorted(seen.ends, key=lambda module: -seen.ends[module])

    @contextmanager
    def skipping(self, key: object, before: int) -> Iterator[None]:
        """Runs of the model in this context skip finished modules.

        Args:
            key: the batch, and the state of the weights.
            before: the time, as in :class:`Survey`, from which on modules may change.
        """
        finished = {module for module in self._order if self._seen.ends[module] < before}
        finished |= {inner for module in finished for inner in self._inside[module]}
        kept, shapes = self._kept.setdefault(key, {}), self._shapes.setdefault(key, {})
        skipped: dict[nn.Module, Tensor] = {}
        covered: set[nn.Module] = set()
        run: list[nn.Module] = []
        for module in self._order:
            if self._seen.ends[module] >= before or module in covered:
                continue
            needed = any(covered.isdisjoint(running) for running in self._seen.uses[module])
            result = kept.get(module) if needed else shapes.get(module)
            if result is None:
                run.append(module)
            else:
                skipped[module] = result
                covered |= {module, *self._inside[module]}
        for module in [module for module, result in kept.items() if skipped.get(module) is not result]:
            del kept[module]  # it is inside of a skipped module, or only skipped modules use it
        with ExitStack() as stack:
            for module, result in skipped.items():
                stack.enter_context(_returning(module, result))
            for module in run:
                # what only finished modules use is needed in this run, but in no later one
                lasts = any(finished.isdisjoint(running) for running in self._seen.uses[module])
                stack.enter_context(module.register_forward_hook(self._keeper(kept if lasts else None, shapes)))
            yield

    def _keeper(self, kept: dict[nn.Module, Tensor] | None, shapes: dict[nn.Module, Tensor]) -> Keep:
        def keep(module: nn.Module, arguments: object, output: object) -> None:
            if isinstance(output, Tensor):
                shapes[module] = output.new_zeros(1).expand(output.shape)
                if kept is not None and self.kept_bytes + output.nbytes <= self._memory:
                    kept[module] = output.detach().clone()

        return keep

    @property
    def kept_bytes(self) -> int:
        """Bytes of the outputs that are kept."""
        return sum(tensor.nbytes for outputs in self._kept.values() for tensor in outputs.values())


@contextmanager
def _returning(module: nn.Module, result: Tensor) -> Iterator[None]:
    """Makes a module return a copy of a tensor, or an empty view itself."""
    own = module.__dict__.get("forward")

    def forward(*arguments: object, **named: object) -> Tensor:
        return result if result.stride() == (0,) * result.ndim else result.clone()

    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
