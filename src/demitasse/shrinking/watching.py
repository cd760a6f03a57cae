"""Runs a model and watches the calls of some of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from demitasse.errors import DemitasseError, MethodError
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.shrinking.batches import Forward, moved

# called with a module, its positional and its keyword arguments
Seen = Callable[[nn.Module, Arguments, Named], None]


class _Enough(BaseException):
    """Ends a run of the model; no ``except Exception`` of a model stops it."""


def check_watchable(model: nn.Module) -> None:
    """Raises MethodError if a module is compiled by TorchScript: calls inside of it cannot be watched."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise MethodError(f"{name or 'model'} is a TorchScript module; expected modules in Python")


@dataclass
class ModelRunner:
    """Runs a model on calibration batches, in evaluation and without gradients.

    Attributes:
        model: the bare model.
        forward: runs it on a batch.
        device: where the batches go.
    """

    model: nn.Module
    forward: Forward
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def outputs(self, batch: object) -> object:
        """Returns what the model makes of a batch."""
        try:
            return self.forward(self.model, moved(batch, self.device))
        except (DemitasseError, NotImplementedError):
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise MethodError(
                f"the model cannot be run on the calibration inputs: {type(error).__name__}: {error}"
            ) from error

    def watch(self, batch: object, calls: Mapping[nn.Module, int], seen: Seen) -> None:
        """Runs the model until the last call of the watched modules.

        Args:
            batch: one batch.
            calls: how often each module is called.
            seen: called with each call, before the module computes.
        """
        left = sum(calls.values())

        def before(module: nn.Module, arguments: Arguments, named: Named) -> None:
            nonlocal left
            seen(module, arguments, named)
            left -= 1
            if not left:
                raise _Enough

        with ExitStack() as stack, torch.no_grad():
            for module in calls:
                stack.enter_context(module.register_forward_pre_hook(before, with_kwargs=True))
            stack.enter_context(suppress(_Enough))
            self.outputs(batch)


@contextmanager
def evaluating(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Sets a model to evaluation, without the fused paths of attention that call no submodules.

    The caller's autocast and inference mode do not count: compression needs exact moments, and gradients. Autocast of
    the model's own keeps no copies of weights, which change.
    """
    modes = {module: module.training for module in model.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    model.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.autocast(device.type, enabled=False, cache_enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def swapped(originals: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Gives tensors other values for a while: tensor -> values."""
    now = {tensor: tensor.data for tensor in originals}
    try:
        for tensor, values in originals.items():
            tensor.data = values
        yield
    finally:
        for tensor, values in now.items():
            tensor.data = values


def copied(arguments: Arguments, named: Named) -> tuple[Arguments, Named]:
    """Returns copies of the arguments of a call, which a later operation in place leaves as they are."""
    return tuple(map(_copy, arguments)), {name: _copy(value) for name, value in named.items()}


def _copy(value: object) -> object:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(map(_copy, value))
    return value


def tensors_in(value: object) -> Sequence[Tensor]:
    """Returns the tensors in the outputs of a model: one, or those in tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, tuple | list) else []
