"""What one run of a model tells: which layers see inputs, in which order, and what follows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from demitasse.errors import MethodError
from demitasse.methods.one_shot.views import Arguments, Named
from demitasse.shrinking.watching import Runner, tensors_in


@dataclass
class Survey:
    """What was seen.

    Attributes:
        calls: watched module -> number of its calls, in the order of the first calls.
        first: watched module -> number of its first call among all; calls with the same input have the same number.
        normalization: module -> the batch normalization that alone uses its output.
    """

    calls: dict[nn.Module, int] = field(default_factory=dict)
    first: dict[nn.Module, int] = field(default_factory=dict)
    normalization: dict[nn.Module, _BatchNorm] = field(default_factory=dict)


def survey(runner: Runner, batch: object, names: Mapping[nn.Module, str]) -> Survey:
    """Runs the model once and watches modules.

    Args:
        runner: runs the model.
        batch: one batch.
        names: the modules to watch, with their names for messages.

    Raises:
        MethodError: the input or output of a layer has NaN or infinite values.
    """
    found = Survey()
    norms = [module for module in runner.model.modules() if _is_fixed(module)]
    outputs: dict[int, tuple[nn.Module, Tensor]] = {}
    normalized: dict[int, list[nn.Module]] = {}
    last: list[object] = [None]

    def before(module: nn.Module, arguments: Arguments, named: Named) -> None:
        first = next((value for value in (*arguments, *named.values()) if isinstance(value, Tensor)), None)
        _check_finite(first, "inputs", names[module])
        if module not in found.calls:
            same = first is not None and first is last[0] and bool(found.first)
            found.first[module] = max(found.first.values(), default=-1) + (not same)
        found.calls[module] = found.calls.get(module, 0) + 1
        last[0] = first

    def after(module: nn.Module, arguments: Arguments, output: object) -> None:
        for tensor in tensors_in(output):
            _check_finite(tensor, "outputs", names[module])
        if isinstance(output, Tensor):
            outputs[id(output)] = module, output

    def norm(module: nn.Module, arguments: Arguments) -> None:
        if arguments:
            normalized.setdefault(id(arguments[0]), []).append(module)

    with ExitStack() as stack, torch.no_grad():
        for module in names:
            stack.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))  # type: ignore[arg-type]
            stack.enter_context(module.register_forward_hook(after))
        for module in norms:
            stack.enter_context(module.register_forward_pre_hook(norm))
        uses = _Uses(outputs)
        with uses:
            runner.outputs(batch)
    times = [module for modules in normalized.values() for module in modules]
    for key, (module, _) in outputs.items():
        followers = normalized.get(key, [])
        alone = len(followers) == 1 and uses.counts.get(key) == 1 and times.count(followers[0]) == 1
        if alone and found.calls.get(module) == 1:
            norm_layer = followers[0]
            assert isinstance(norm_layer, _BatchNorm)
            found.normalization[module] = norm_layer
    return found


def _is_fixed(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


def _check_finite(value: object, what: str, name: str) -> None:
    if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
        raise MethodError(f"{name}: the {what} have NaN or infinite values; expected finite ones")


class _Uses(TorchDispatchMode):
    """Counts the operations that use each of some tensors, by id."""

    def __init__(self, watched: Mapping[int, tuple[nn.Module, Tensor]]) -> None:
        super().__init__()
        self._watched = watched
        self.counts: dict[int, int] = {}

    def __torch_dispatch__(  # type: ignore[override]
        self, func: object, types: Collection[type], args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None
    ) -> object:
        assert callable(func)
        for value in (*args, *(kwargs or {}).values()):
            for tensor in value if isinstance(value, tuple | list) else (value,):
                if isinstance(tensor, Tensor) and id(tensor) in self._watched:
                    self.counts[id(tensor)] = self.counts.get(id(tensor), 0) + 1
        return func(*args, **(kwargs or {}))
