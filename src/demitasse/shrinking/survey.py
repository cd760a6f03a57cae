"""What one run of a model tells: which layers see inputs, in which order, and where their outputs are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from demitasse.errors import MethodError
from demitasse.methods.one_shot.absorbers import Absorber, absorber_of
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.shrinking.watching import ModelRunner, tensors_in


@dataclass
class Survey:
    """What was seen.

    Attributes:
        calls: watched module -> number of its calls, in the order of the first calls.
        first: watched module -> number of its first call among all; calls with the same input have the same number.
        begins: module -> time of its first call, as a counter; all modules that were called.
        ends: module -> time of the end of its call; only modules that are called once and return one tensor.
        uses: module of ``ends`` -> the modules that were running at each use of its output by an operation.
        absorbers: module -> (number of axes of its output, what alone uses it and can take up a change of channels).
    """

    calls: dict[nn.Module, int] = field(default_factory=dict)
    first: dict[nn.Module, int] = field(default_factory=dict)
    begins: dict[nn.Module, int] = field(default_factory=dict)
    ends: dict[nn.Module, int] = field(default_factory=dict)
    uses: dict[nn.Module, list[tuple[nn.Module, ...]]] = field(default_factory=dict)
    absorbers: dict[nn.Module, tuple[int, Absorber]] = field(default_factory=dict)


def survey(runner: ModelRunner, batch: object, names: Mapping[nn.Module, str]) -> Survey:
    """Runs the model once.

    Args:
        runner: runs the model.
        batch: one batch.
        names: the modules to watch, with their names for messages.

    Raises:
        MethodError: the input or output of a watched module has NaN or infinite values.
    """
    watcher = _Watcher(names)
    with ExitStack() as stack, torch.no_grad():
        for module in runner.model.modules():
            stack.enter_context(module.register_forward_pre_hook(watcher.before, with_kwargs=True))
            stack.enter_context(module.register_forward_hook(watcher.after))
        with watcher:
            runner.outputs(batch)
    return watcher.found(_shared(runner.model))


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the calls of modules, and sees in which of them an operation uses the output of another."""

    def __init__(self, names: Mapping[nn.Module, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names
        self._survey = Survey()
        self._running: list[nn.Module] = []
        self._calls: dict[nn.Module, int] = {}
        self._outputs: dict[nn.Module, Tensor] = {}
        self._held: dict[int, Tensor] = {}  # keeps the tensors, so that their ids stay theirs
        self._uses: dict[int, list[tuple[nn.Module, ...]]] = {}
        self._last: Tensor | None = None
        self._time = 0

    def before(self, module: nn.Module, arguments: Arguments, named: Named) -> None:
        self._time += 1
        self._running.append(module)
        self._calls[module] = self._calls.get(module, 0) + 1
        found = self._survey
        found.begins.setdefault(module, self._time)
        if module not in self._names:
            return
        first = next((value for value in (*arguments, *named.values()) if isinstance(value, Tensor)), None)
        _check_finite(first, "inputs", self._names[module])
        if module not in found.calls:
            is_same = first is not None and first is self._last
            found.first[module] = max(found.first.values(), default=-1) + (not is_same)
        found.calls[module] = self._calls[module]
        self._last = first

    def after(self, module: nn.Module, arguments: Arguments, output: object) -> None:
        self._time += 1
        self._running.pop()
        if module in self._names:
            for tensor in tensors_in(output):
                _check_finite(tensor, "outputs", self._names[module])
        if isinstance(output, Tensor):
            self._survey.ends[module] = self._time
            self._outputs[module] = self._held[id(output)] = output

    def __torch_dispatch__(
        self,
        func: object,
        types: Collection[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        for value in (*args, *(kwargs or {}).values()):
            for tensor in value if isinstance(value, tuple | list) else (value,):
                if id(tensor) in self._held:
                    self._uses.setdefault(id(tensor), []).append(tuple(self._running))
        assert callable(func)
        return func(*args, **(kwargs or {}))

    def found(self, shared: Collection[int]) -> Survey:
        """Returns what was seen.

        Args:
            shared: ids of the tensors that several modules hold.
        """
        found = self._survey
        once = {module for module, count in self._calls.items() if count == 1}
        found.ends = {module: time for module, time in found.ends.items() if module in once}
        for module in found.ends:
            uses = found.uses[module] = self._uses.get(id(self._outputs[module]), [])
            user = uses[0][-1] if len(uses) == 1 and uses[0] else None
            absorber = absorber_of(user) if user in once and user is not module else None
            if absorber and not any(id(tensor) in shared for tensor in absorber.tensors):
                found.absorbers[module] = self._outputs[module].ndim, absorber
        return found


def _shared(model: nn.Module) -> set[int]:
    """Returns the ids of the parameters and buffers that several modules hold."""
    counts: Counter[int] = Counter()
    for module in model.modules():
        counts.update({id(tensor) for tensor in (*module.parameters(False), *module.buffers(False))})
    return {key for key, count in counts.items() if count > 1}


def _check_finite(value: object, what: str, name: str) -> None:
    if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
        raise MethodError(f"{name}: the {what} have NaN or infinite values; expected finite ones")
