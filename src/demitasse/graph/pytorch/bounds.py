"""The shapes of a stored graph, computed without values before memory is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from demitasse.errors import DemitasseError, FileFormatError, UsageError
from demitasse.graph.calling import Call, function_named, replaced
from demitasse.graph.graph import Graph, Shape, Step
from demitasse.graph.named import NamedCall
from demitasse.graph.settings import expect
from demitasse.graph.signature import ConstantInput, TensorInput
from demitasse.graph.stored_steps import MOST_ENTRIES
from demitasse.graph.weights import Weight, torch_type

# shapes of inputs that are known to be right
_KEPT = 64
_META = torch.device("meta")


class Bounds:
    """Computes a stored graph on tensors without values: its functions must fit together and take bounded memory.

    Args:
        graph: the graph.
        inputs: its inputs, in order.

    Raises:
        FileFormatError: a function refuses its arguments, or makes another shape than the graph says.
    """

    def __init__(self, graph: Graph, inputs: Sequence[TensorInput | ConstantInput]) -> None:
        self._graph, self._inputs = graph, inputs
        self._known: dict[tuple[Shape, ...], None] = {}
        self._steps: list[tuple[Step, nn.Module]] = []
        with torch.no_grad():
            for step in graph.steps:
                try:
                    self._steps.append((step, _without_values(step)))
                except DemitasseError:
                    raise
                except Exception as error:  # torch raises exceptions of any type
                    raise _error(step, error) from error
            example = tuple(graph.values[number].shape for number in graph.inputs.values())
            self._example = sum(map(math.prod, example))
            self._run(example, exact=True)
        self._known[example] = None

    @torch.no_grad()
    def check(self, shapes: tuple[Shape, ...]) -> None:
        """Checks that inputs of other sizes take bounded memory.

        Raises:
            UsageError: they do not.
        """
        if shapes in self._known:
            return
        try:
            self._run(shapes, exact=False)
        except FileFormatError as error:
            raise UsageError(str(error)) from error
        while len(self._known) >= _KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[shapes] = None

    def _run(self, shapes: tuple[Shape, ...], exact: bool) -> None:
        graph = self._graph
        values: dict[int, object] = {}
        for number, given, shape in zip(graph.inputs.values(), self._inputs, shapes, strict=True):
            values[number] = _empty(given, shape)
        most = 2 * MOST_ENTRIES * (1 + sum(map(math.prod, shapes)) // max(self._example, 1))
        entries = 0
        for step, call in self._steps:
            inputs = [values[number] for number in step.inputs]
            try:
                _expect_types(step, inputs)
                result = call(*inputs)
            except DemitasseError as error:
                raise FileFormatError(f"step {step.name!r}: {error}") from error
            except Exception as error:  # torch raises exceptions of any type
                raise _error(step, error) from error
            (value,) = (result,) if isinstance(result, Tensor) else result
            values[step.outputs[0]] = value
            entries += sum(each.numel() for each in _tensors(value)) + _hidden(step, inputs)
            if entries > most:
                raise FileFormatError(f"step {step.name!r}: found {entries:,} entries; expected at most {most:,}")
            wanted = graph.values[step.outputs[0]].shape
            if exact and isinstance(value, Tensor) and tuple(value.shape) != wanted:
                raise FileFormatError(
                    f"step {step.name!r}: found shape {list(wanted)}; expected {list(value.shape)}, which it makes"
                )


def _expect_types(step: Step, inputs: Sequence[object]) -> None:
    """Checks that a step of a known kind gets tensors of numbers of the type of its weights."""
    if isinstance(step.maker, NamedCall):
        return
    types = {torch_type(weight.dtype) for weight in step.weights.values()} or {torch.get_default_dtype()}
    for each in inputs:
        kind = each.dtype if isinstance(each, Tensor) else type(each).__name__
        fits = kind in types if step.weights else isinstance(each, Tensor) and each.is_floating_point()
        expect(fits, f"found an input of {kind}", " or ".join(map(str, types)))


def _empty(given: TensorInput | ConstantInput, shape: Shape) -> object:
    if isinstance(given, ConstantInput):
        return given.value
    return torch.empty(shape, dtype=getattr(torch, given.dtype), device=_META)


def _error(step: Step, error: Exception) -> FileFormatError:
    reason = (str(error) or type(error).__name__).strip().splitlines()[0]
    return FileFormatError(f"step {step.name!r}: {step.kind} cannot be computed: {reason}")


def _without_values(step: Step) -> nn.Module:
    """Returns what computes a step, with constants without values, on the meta device."""
    if not isinstance(step.maker, NamedCall):
        return replace(step, weights={name: _meta(weight) for name, weight in step.weights.items()}).call
    call = step.maker()
    assert isinstance(call, Call)
    args, kwargs = replaced((call.args, call.kwargs), _argument)
    function = function_named(step.maker.name)
    return Call(function, *_placed(function, args, kwargs))


def _meta(weight: Weight) -> Tensor:
    return torch.empty(tuple(weight.shape), dtype=torch_type(weight.dtype), device=_META)


def _argument(argument: object) -> object:
    return _meta(argument) if isinstance(argument, Tensor) else argument


def _placed(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Returns the arguments of a function with the meta device, where it makes tensors on a device."""
    if not isinstance(function, torch._ops.OpOverload):
        return args, kwargs
    names = [argument.name for argument in function._schema.arguments]
    if "device" not in names:
        return args, kwargs
    place = names.index("device")
    if place < len(args):
        return (*args[:place], _META, *args[place + 1 :]), kwargs
    return args, {**kwargs, "device": _META}


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, list | tuple):
        return [each for part in value for each in _tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def _hidden(step: Step, inputs: Sequence[object]) -> int:
    """Returns the entries that a step needs besides its result: attention has one for each query and key."""
    given = [each for each in inputs if isinstance(each, Tensor) and each.ndim > 1]
    if step.kind != "scaled_dot_product_attention" or not given:
        return 0
    rows = max(math.prod(each.shape[:-1]) for each in given)
    return rows * max(each.shape[-2] for each in given)
