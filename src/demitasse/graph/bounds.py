"""The shapes of a stored graph, computed without values before memory is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from demitasse.errors import DemitasseError, FileFormatError, UsageError
from demitasse.graph.calling import Call, function_named, replaced
from demitasse.graph.graph import Graph, Step
from demitasse.graph.named import NamedCall
from demitasse.graph.settings import expect
from demitasse.graph.stored_steps import MOST_ENTRIES
from demitasse.graph.weights import Weight, torch_type

# inputs that are known to be right
_KEPT = 64
_META = torch.device("meta")


class Bounds:
    """Computes a stored graph on tensors without values: its functions must fit together and take bounded memory.

    Args:
        graph: the graph, as it was read.

    Raises:
        FileFormatError: the constants of a function are none.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[tuple[object, ...], None] = {}
        self._steps = [(step, _without_values(step)) for step in graph.steps]
        self._example = [graph.values[number].shape for number in graph.inputs.values()]
        self._is_checked = False

    @torch.no_grad()
    def check_example(self, inputs: Sequence[object]) -> None:
        """Checks that the graph makes the shapes that it says, for the shapes of the example.

        Args:
            inputs: tensors of any shape and the right types, and constants.

        Raises:
            FileFormatError: a function refuses its arguments, or makes another shape.
        """
        pairs = zip(inputs, self._example, strict=True)
        self._run([torch.empty(shape, dtype=each.dtype, device=_META) if isinstance(each, Tensor) else each
                   for each, shape in pairs], exact=True)  # fmt: skip
        self._is_checked = True

    @torch.no_grad()
    def check(self, inputs: Sequence[object]) -> None:
        """Checks that inputs take bounded memory.

        Raises:
            FileFormatError: see :meth:`check_example`.
            UsageError: they do not, or do not fit the graph.
        """
        key = tuple((each.shape, each.dtype) if isinstance(each, Tensor) else each for each in inputs)
        if key in self._known:
            return
        if not self._is_checked:
            self.check_example(inputs)
        try:
            self._run([each.to(_META) if isinstance(each, Tensor) else each for each in inputs], exact=False)
        except FileFormatError as error:
            raise UsageError(str(error)) from error
        while len(self._known) >= _KEPT:
            self._known.pop(next(iter(self._known)))
        self._known[key] = None

    def _run(self, inputs: Sequence[object], exact: bool) -> None:
        values = dict(zip(self._graph.inputs.values(), inputs, strict=True))
        batches = {tuple(each.shape[:1]) for each in inputs if isinstance(each, Tensor)}
        is_other = any(
            isinstance(each, Tensor) and tuple(each.shape) != shape
            for each, shape in zip(inputs, self._example, strict=True)
        )
        taken, example = sum(each.numel() for each in _tensors(inputs)), sum(map(math.prod, self._example))
        most = 2 * MOST_ENTRIES * (1 + taken // max(example, 1))
        entries, without_batch = 0, self._graph.without_batch
        for step, call in self._steps:
            given = [values[number] for number in step.inputs]
            value = values[step.outputs[0]] = _computed(step, call, given)
            entries += sum(each.numel() for each in _tensors(value)) + _hidden(step, given)
            expect(entries <= most, f"step {step.name!r}: found {entries:,} entries", f"at most {most:,}")
            wanted, has_batch = self._graph.values[step.outputs[0]].shape, step.outputs[0] not in without_batch
            if not isinstance(value, Tensor) or not (exact or (is_other and has_batch)):
                continue
            shape = tuple(value.shape)
            fits = shape == wanted if exact else shape[:1] in batches and shape[1:] == wanted[1:]
            expect(fits, f"step {step.name!r}: found shape {list(wanted)}", f"{list(shape)}, which it makes")


def _computed(step: Step, call: nn.Module, inputs: Sequence[object]) -> object:
    try:
        _expect_types(step, inputs)
        result = call(*inputs)
    except DemitasseError as error:
        raise FileFormatError(f"step {step.name!r}: {error}") from error
    except Exception as error:  # torch raises exceptions of any type
        raise _error(step, error) from error
    return result if isinstance(result, Tensor) else result[0]


def _expect_types(step: Step, inputs: Sequence[object]) -> None:
    """Checks that a step of a known kind gets tensors of numbers of the type of its weights."""
    if isinstance(step.maker, NamedCall):
        return
    types = {torch_type(weight.dtype) for weight in step.weights.values()}
    for each in inputs:
        kind = each.dtype if isinstance(each, Tensor) else type(each).__name__
        fits = kind in types if types else isinstance(each, Tensor) and each.is_floating_point()
        expect(fits, f"found an input of {kind}", " or ".join(map(str, types)) or "real numbers")


def _error(step: Step, error: Exception) -> FileFormatError:
    reason = (str(error) or type(error).__name__).strip().splitlines()[0]
    return FileFormatError(f"step {step.name!r}: {step.kind} cannot be computed: {reason}")


def _without_values(step: Step) -> nn.Module:
    """Returns what computes a step, with constants without values, on the meta device."""
    try:
        if not isinstance(step.maker, NamedCall):
            return replace(step, weights={name: _meta(weight) for name, weight in step.weights.items()}).call
        call = step.maker()
        assert isinstance(call, Call)
        args, kwargs = replaced((call.args, call.kwargs), _argument)
        function = function_named(step.maker.name)
        return Call(function, *_placed(function, args, kwargs))
    except Exception as error:  # torch raises exceptions of any type
        raise _error(step, error) from error


def _meta(weight: Weight) -> Tensor:
    return torch.empty(tuple(weight.shape), dtype=torch_type(weight.dtype), device=_META)


def _argument(argument: object) -> object:
    return _meta(argument) if isinstance(argument, Tensor) else argument


def _placed(
    function: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Returns the arguments of a function with the meta device, where it makes tensors on a device."""
    schema = getattr(function, "_schema", None)  # of PyTorch's own functions
    names = [argument.name for argument in schema.arguments] if schema else []
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
