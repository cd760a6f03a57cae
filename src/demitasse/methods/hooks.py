"""Attaches methods to an optimizer: one pair of step hooks serves all methods of an optimizer.

The hooks put the dense values into the parameters before a step and the effective values after it; then the methods
decide. They change nothing else: modules, parameters and their names stay what they are.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from types import FrameType, MethodType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from demitasse.errors import MethodError
from demitasse.methods import shards
from demitasse.methods.records import FROZEN, AttachedMethod, Record, known_records, record_of
from demitasse.methods.selection import Chosen, named_parameters, unwrap

Closure = Callable[[], object]
Function = TypeVar("Function", bound=Callable[..., object])
Args = tuple[Any, ...]
Kwargs = dict[str, Any]
_WHERE_STEPS_ARE = Optimizer.step.__code__.co_filename
_CALLERS = 8  # our guard, schedulers and others may wrap a step


class StepHooks:
    """The pair of hooks of one optimizer.

    Attributes:
        methods: the methods that count this optimizer's steps, in the order in which they were attached.
        attached: all methods that know this optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.methods: list[AttachedMethod] = []
        self.attached: list[AttachedMethod] = []
        self._records: list[Record] = []
        self._depth = 0
        self._outer: FrameType | None = None
        # a graph cannot record values, call numba or draw at random: torch.compile leaves the hooks out of its graphs
        before, after = _outside_graphs(self._before), _outside_graphs(self._after)
        self._handles = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
        self._guard = _Guard(optimizer, self._abandon)

    def remove(self) -> None:
        """Removes the hooks from the optimizer."""
        for handle in self._handles:
            handle.remove()
        self._guard.remove()

    def _before(self, optimizer: Optimizer, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        if self._depth and not _is_running(self._outer):
            self._abandon()  # the previous step raised, and the guard did not see it
        self._depth += 1
        if self._depth > 1:
            return None  # a step that calls the step of its base class
        self._outer = _frame_of_step()
        for method in self.attached:
            method.check_module()
        records = _records_of(optimizer)
        if on_cuda(records) and torch.cuda.is_current_stream_capturing():
            raise MethodError("a step with a method attached cannot be captured in a CUDA graph: the host decides")
        self._records = records
        for record in records:
            record.load_dense()
        return self._with_closure(args, kwargs)

    def _after(self, optimizer: Optimizer, args: Args, kwargs: Kwargs) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        only_prepares, self._outer = _only_prepares(self._outer), None
        self._leave()
        if only_prepares:
            return
        # a GradScaler sets it for a fused optimizer, which decides on the device
        skip: Tensor | None = getattr(optimizer, "found_inf", None)
        if skip is not None and skip.device.type == "cpu":
            if skip.item():
                return
            skip = None
        for method in self.methods:
            method.after_step(skip)

    def _leave(self) -> None:
        for record in self._records:
            record.load_effective()
        self._records = []

    def _abandon(self) -> None:
        """Puts the effective values back after a step that raised, without a decision."""
        self._depth, self._outer = 0, None
        self._leave()

    def _with_closure(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs] | None:
        """Returns the step's arguments with a closure that sees effective values; None without a closure."""
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._effective(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._effective(kwargs["closure"])}
        return None

    def _effective(self, closure: Closure) -> Closure:
        @functools.wraps(closure)
        def run() -> object:
            for record in self._records:
                record.load_effective()
            try:
                return closure()
            finally:
                for record in self._records:
                    record.load_dense()
                    _clear_frozen_gradient(record)

        return run


def _frame_of_step() -> FrameType | None:
    """Returns the frame of the optimizer's step that called the hook."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != _WHERE_STEPS_ARE:
        frame = frame.f_back
    return frame


def _only_prepares(frame: FrameType | None) -> bool:
    """Whether torch.distributed.checkpoint takes this step, at rate 0, only to initialize the optimizer's state."""
    for _ in range(_CALLERS):
        if frame is None:
            return False
        if frame.f_code.co_name == "_init_optim_state":
            return True
        frame = frame.f_back
    return False


def _is_running(outer: FrameType | None) -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not outer:
        frame = frame.f_back
    return frame is not None


def on_cuda(records: Sequence[Record]) -> bool:
    """Whether any record is on a GPU."""
    return any(record.status.is_cuda for record in records)


def _clear_frozen_gradient(record: Record) -> None:
    """Sets the gradient of frozen entries to 0, so that LBFGS does not count on moves that never happen."""
    gradient = record.parameter.grad
    if gradient is not None and record.has_frozen and not gradient.is_sparse:
        shards.local(gradient).masked_fill_(record.status == FROZEN, 0)


def _outside_graphs(hook: Function) -> Function:
    disabled: Function = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
    return disabled


class _Guard:
    """Calls back when an optimizer's step raises, which hooks do not see."""

    def __init__(self, optimizer: Optimizer, abandon: Callable[[], None]) -> None:
        self._optimizer, self._abandon = optimizer, abandon
        self._before = optimizer.__dict__.get("step")
        inner = optimizer.step

        @functools.wraps(inner)
        def step(_: Optimizer, *args: Any, **kwargs: Any) -> object:
            try:
                return inner(*args, **kwargs)
            except BaseException:
                self._abandon()
                raise

        self._step = MethodType(step, optimizer)
        optimizer.step = self._step  # type: ignore[method-assign]

    def remove(self) -> None:
        """Removes the guard; where somebody else has wrapped it, it stays and does nothing."""
        self._abandon = _nothing
        if self._optimizer.__dict__.get("step") is not self._step:
            return
        if self._before is None:
            del self._optimizer.step
        else:
            self._optimizer.step = self._before  # type: ignore[method-assign]


def _nothing() -> None:
    pass


# weak on both sides, since hooks and methods refer to their optimizer; the optimizer holds its hooks
_HOOKS: WeakKeyDictionary[Optimizer, ref[StepHooks]] = WeakKeyDictionary()
_watch: RemovableHandle | None = None


def attach(optimizer: Optimizer, method: AttachedMethod) -> None:
    """Attaches a method to an optimizer; the first of the method's optimizers counts its steps."""
    global _watch
    if _watch is None:
        _watch = register_optimizer_step_pre_hook(_outside_graphs(_note_unknown_optimizer))
    hooks = _hooks_of(optimizer)
    if hooks is None:
        hooks = StepHooks(optimizer)
        _HOOKS[optimizer] = ref(hooks)
    hooks.attached.append(method)
    if optimizer is method.optimizers[0]:
        hooks.methods.append(method)


def detach(optimizer: Optimizer, method: AttachedMethod) -> None:
    """Undoes :func:`attach`."""
    global _watch
    hooks = _hooks_of(optimizer)
    assert hooks is not None, "the optimizer holds its hooks until the last method is detached"
    hooks.attached.remove(method)
    if method in hooks.methods:
        hooks.methods.remove(method)
    if not hooks.attached:
        hooks.remove()
        del _HOOKS[optimizer]
    if not _HOOKS and _watch is not None:
        _watch.remove()
        _watch = None


def _hooks_of(optimizer: Optimizer) -> StepHooks | None:
    reference = _HOOKS.get(optimizer)
    return reference() if reference is not None else None


def _note_unknown_optimizer(optimizer: Optimizer, args: Args, kwargs: Kwargs) -> None:
    """Notes a step of an unknown optimizer on compressed parameters; runs before every step of any optimizer."""
    if optimizer in _HOOKS:
        return
    for record in _records_of(optimizer):
        # a step within a step belongs to the outer one (an optimizer that wraps optimizers)
        if not record.in_step:
            record.unknown_optimizers.add(type(optimizer).__name__)
    _check_replaced(optimizer)


def _check_replaced(optimizer: Optimizer) -> None:
    """Raises if the optimizer's parameters have replaced compressed ones."""
    replaced = [record for record in known_records() if record.is_stale]
    if not replaced:
        return
    given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for record in replaced:
        if any(id(home.owner._parameters.get(home.leaf)) in given for home in record.chosen.homes):
            record.methods[0].check_module()


def _records_of(optimizer: Optimizer) -> list[Record]:
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [record for record in map(record_of, parameters) if record is not None]


def unwrapped(optimizer: Optimizer | Sequence[Optimizer] | None, method: str) -> list[Optimizer]:
    """Returns the optimizers without the wrappers of accelerate and Lightning.

    Raises:
        MethodError: no optimizer is given, or a value is not an optimizer; the message shows how to attach a method.
    """
    given: list[object] = list(optimizer) if isinstance(optimizer, list | tuple) else [optimizer]
    if given in ([], [None]):
        raise MethodError(
            f"no optimizer is given, and {method} decides after each of its steps; create the one that trains the "
            f"model, such as optimizer = torch.optim.SGD(model.parameters(), lr=0.01), and attach "
            f"{method}(model, optimizer, ...)"
        )
    found: list[Optimizer] = []
    for one in given:
        while isinstance(inner := getattr(one, "optimizer", None), Optimizer):
            one = inner
        if not isinstance(one, Optimizer):
            raise MethodError(f"optimizer is a {type(one).__name__}; expected a torch.optim.Optimizer, or several")
        if one not in found:
            found.append(one)
    return found


def check_optimizers(optimizers: Sequence[Optimizer], model: nn.Module, chosen: Sequence[Chosen]) -> None:
    """Checks that every optimizer trains parameters of the model, and one of them the chosen ones.

    Raises:
        MethodError: an optimizer belongs to another model, or was made before the model got its present parameters.
    """
    known = {id(parameter) for parameter in named_parameters(model).values()}
    for optimizer in optimizers:
        given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not given & known:
            raise MethodError(
                f"the {type(optimizer).__name__} trains no parameter of this {type(unwrap(model)).__name__}; "
                "create it from the model's parameters, after fully_shard"
            )
    trained = {id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    if not any(id(item.parameter) in trained for item in chosen):
        raise MethodError(f"the optimizer trains none of the chosen parameters ({chosen[0].name} and so on)")
