"""From a graph to a program: where values lie, and which function adds the kernels of a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from demitasse.errors import DemitasseError
from demitasse.graph.graph import Activation, Graph, Step
from demitasse.graph.products import is_convolution
from demitasse.graph.weights import packed
from demitasse.packed.weight import PackedWeight
from demitasse.registry import Registry
from demitasse.runtime.native import moving
from demitasse.runtime.native.kernels import address
from demitasse.runtime.native.layout import Layout, Windows, least_row, planes
from demitasse.runtime.native.llvm import Machine, host
from demitasse.runtime.native.memory import Use, aligned, places
from demitasse.runtime.native.program import Argument, Program


class Packed(Protocol):
    """Weights as a kernel takes them."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""


Memo = dict[tuple[object, ...], Packed]
P = TypeVar("P", bound=Packed)


class NotNative(DemitasseError):
    """A step has no kernel here.

    Attributes:
        step: the step, if it is known.
    """

    step: Step | None = None


class Piece(NamedTuple):
    """Memory that is given at the end.

    Attributes:
        number: of the piece.
    """

    number: int


class Lowered(NamedTuple):
    """A program and its memory.

    Attributes:
        program: computes the outputs from the inputs.
        inputs: name -> where the input is written, with the shape that it has in the graph but for the batch.
        outputs: name -> where the output is then.
        weights: name of a step -> its packed weights.
    """

    program: Program
    inputs: dict[str, npt.NDArray[np.float32]]
    outputs: dict[str, npt.NDArray[np.float32]]
    weights: dict[str, Packed]


class Lowering:
    """Makes the program of a graph, step by step; for the arguments see :func:`lowered`."""

    def __init__(self, graph: Graph, batch: int, threads: int, machine: Machine, memo: Memo) -> None:
        self.memo = memo
        self.graph, self.batch, self.threads, self.machine = graph, batch, threads, machine
        self.lanes = machine.lanes
        self.layouts: dict[int, Layout] = {}
        self._rows = _distances(graph)
        self._pieces: list[list[int]] = []  # size, first and last step
        self._values: dict[int, Piece] = {}
        self._shared: dict[tuple[Hashable, ...], Piece] = {}
        self._calls: list[tuple[int, tuple[Argument | Piece, ...]]] = []
        self.inputs: dict[str, npt.NDArray[np.float32]] = {}
        self.outputs: dict[str, npt.NDArray[np.float32]] = {}
        self.weights: dict[str, Packed] = {}

    def layout(self, number: int) -> Layout:
        """Returns the layout of a value."""
        if number not in self.layouts:
            name, (_, *shape) = self.graph.values[number]
            if 0 in shape:
                raise NotNative(f"value {name!r} of shape {(self.batch, *shape)}: it has no entries")
            if len(shape) == 1:
                self.layouts[number] = Layout(1, 1, shape[0], shape[0], shape[0])
            elif len(shape) == 3:
                channels, height, width = shape
                self.layouts[number] = planes(channels, height, width, self._rows[height, width], self.lanes)
            else:
                raise NotNative(f"a value of {len(shape) + 1} axes")
        return self.layouts[number]

    def new(self, size: int) -> Piece:
        """Returns memory for a number of float32 values."""
        if size >= 1 << 31:  # offsets have 32 bits
            raise NotNative(f"a value of {size:,} entries")
        self._pieces.append([size + 4 * self.lanes, len(self._calls), len(self._calls)])
        return Piece(len(self._pieces) - 1)

    def shared(self, key: tuple[Hashable, ...], size: int) -> tuple[Piece, bool]:
        """Returns the memory of what several steps take, and whether it is new and yet to be written."""
        is_new = key not in self._shared
        if is_new:
            self._shared[key] = self.new(size)
        return self._shared[key], is_new

    def output(self, number: int) -> Piece:
        """Returns memory for a value that is made now."""
        self._values[number] = self.new(self.layout(number).size(self.batch))
        return self._values[number]

    def value(self, number: int) -> Piece:
        """Returns the memory of a value that is made already."""
        return self._values[number]

    def packed(self, step: Step) -> PackedWeight:
        """Returns the packed weight of a step, which is packed once for all plans of a graph."""
        return self.held(step, (), lambda: packed(step.weights["weight"]))

    def held(self, step: Step, form: tuple[object, ...], pack: Callable[[], P]) -> P:
        """Returns the packed weights of a step, which are packed once for each form."""
        key = step.name, *form
        if key not in self.memo:
            self.memo[key] = pack()
        self.weights[step.name] = self.memo[key]
        return cast("P", self.memo[key])

    def call(
        self, build: Callable[..., ir.Module], options: tuple[Hashable, ...], *arguments: Argument | Piece
    ) -> None:
        """Adds the call of a kernel."""
        for argument in arguments:
            if isinstance(argument, Piece):
                self._pieces[argument.number][2] = len(self._calls)
        self._calls.append((address(self.machine, build, *options), arguments))

    def finish(self) -> Program:
        """Returns the program."""
        uses = [Use(*piece) for piece in self._pieces]
        starts, size = places(uses)
        arena = aligned(size)
        program = Program(self.machine, self.threads)
        for kernel, arguments in self._calls:
            program.add(
                kernel, *(arena[starts[each.number] :] if isinstance(each, Piece) else each for each in arguments)
            )
        program.finish()
        return program


def _distances(graph: Graph) -> dict[tuple[int, int], int]:
    """Returns size of planes -> distance of rows that all values of this size have."""
    found: dict[tuple[int, int], int] = defaultdict(int)
    for value in graph.values:
        if len(value.shape) == 4:
            height, width = value.shape[2:]
            found[height, width] = max(found[height, width], width)
    for step in graph.steps:
        windows = windows_of(step)
        if windows:
            (_, _, _, width), (_, _, out_height, out_width) = (
                graph.values[numbers[0]].shape for numbers in (step.inputs, step.outputs)
            )
            found[out_height, out_width] = max(found[out_height, out_width], least_row(windows, width, out_width))
    return found


def windows_of(step: Step) -> Windows | None:
    """Returns the windows of a step; None if it has none over two axes."""
    settings = step.settings
    if is_convolution(step) and len(settings.kernel) == 2:
        return Windows(*(tuple(each) for each in (settings.kernel, settings.stride, settings.pad, settings.dilation)))
    if step.kind == "Pooling":
        return Windows(settings.kernel, settings.stride, settings.pad, (1, 1))
    return None


LOWER: Registry[Callable[[Lowering, Step], None]] = Registry("operation with native kernels")


def lowered(
    graph: Graph, batch: int, threads: int, machine: Machine | None = None, memo: Memo | None = None
) -> Lowered:
    """Returns the program of a graph.

    Args:
        graph: after all passes.
        batch: images that are computed at once.
        threads: that compute them.
        machine: what it is for; by default this machine.
        memo: packed weights by step; those that are missing are added.

    Raises:
        NotNative: a step has no kernel.
    """
    used = {*graph.inputs.values(), *(number for step in graph.steps for number in (*step.inputs, *step.outputs))}
    sizes = {graph.values[number].shape[:1] for number in used}
    if used & graph.without_batch:
        raise NotNative("a value whose first size is not that of the batch")
    if len(sizes) != 1:
        raise NotNative(f"values with batches of different sizes, {sizes}")
    made = Lowering(graph, batch, threads, machine or host(), {} if memo is None else memo)
    for name, number in graph.inputs.items():
        _enter(made, name, number)
    for step in graph.steps:
        try:
            if step.kind not in LOWER:
                raise NotNative(f"layer {step.name!r} of type {step.kind}")
            LOWER[step.kind](made, step)
        except NotNative as error:
            error.step = step
            raise
    for name, number in graph.outputs.items():
        _leave(made, name, number)
    return Lowered(made.finish(), made.inputs, made.outputs, made.weights)


def _enter(made: Lowering, name: str, number: int) -> None:
    layout = made.layout(number)
    made.inputs[name] = np.zeros((made.batch, *made.graph.values[number].shape[1:]), np.float32)
    plane = layout.height * layout.width
    made.call(
        moving.rows, (), made.inputs[name], made.output(number), made.batch * layout.channels, plane, layout.width,
        layout.height, layout.width, layout.plane, layout.row,
    )  # fmt: skip


def _leave(made: Lowering, name: str, number: int) -> None:
    layout = made.layout(number)
    made.outputs[name] = np.zeros((made.batch, *made.graph.values[number].shape[1:]), np.float32)
    plane = layout.height * layout.width
    made.call(
        moving.rows, (), made.value(number), made.outputs[name], made.batch * layout.channels, layout.plane, layout.row,
        layout.height, layout.width, plane, layout.width,
    )  # fmt: skip


# stands for an array that a kernel does not read
NOTHING = np.zeros(1, np.float32)


def numbers_of(activation: Activation | None) -> tuple[str, float, float]:
    """Returns the kind of an activation, and its numbers as kernels take them."""
    if activation is None:
        return "", 0.0, 0.0
    first, second, *_ = (*map(float, activation.numbers), 0.0, 0.0)
    return activation.kind, first, second
