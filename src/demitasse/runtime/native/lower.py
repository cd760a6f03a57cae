"""From a graph to a program: which kernels compute a step, and where its values lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from torch import Tensor

from demitasse.errors import DemitasseError
from demitasse.graph.graph import Activation, Graph, Step
from demitasse.graph.passes.fold import affine_of
from demitasse.graph.passes.fuse import activation_of
from demitasse.graph.products import is_convolution
from demitasse.registry import Registry
from demitasse.runtime.native import columns, moving, pointwise, pooling
from demitasse.runtime.native.kernels import address
from demitasse.runtime.native.layout import Layout, Windows, least_row, phases, planes
from demitasse.runtime.native.llvm import Machine, host
from demitasse.runtime.native.memory import Use, aligned, places
from demitasse.runtime.native.product import Epilogue, SparseRows, product, sparse_rows
from demitasse.runtime.native.program import Argument, Program

Memo = dict[tuple[object, ...], SparseRows]


class NotNative(DemitasseError):
    """A step has no kernel here."""


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
        weights: name of a step -> its sparse matrix.
    """

    program: Program
    inputs: dict[str, npt.NDArray[np.float32]]
    outputs: dict[str, npt.NDArray[np.float32]]
    weights: dict[str, SparseRows]


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
        self._calls: list[tuple[int, tuple[Argument | Piece, ...]]] = []
        self.inputs: dict[str, npt.NDArray[np.float32]] = {}
        self.outputs: dict[str, npt.NDArray[np.float32]] = {}
        self.weights: dict[str, SparseRows] = {}

    def layout(self, number: int) -> Layout:
        """Returns the layout of a value."""
        if number not in self.layouts:
            _, *shape = self.graph.values[number].shape
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
        self._pieces.append([size + 4 * self.lanes, len(self._calls), len(self._calls)])
        return Piece(len(self._pieces) - 1)

    def output(self, number: int) -> Piece:
        """Returns memory for a value that is made now."""
        self._values[number] = self.new(self.layout(number).size(self.batch))
        return self._values[number]

    def value(self, number: int) -> Piece:
        """Returns the memory of a value that is made already."""
        return self._values[number]

    def held(self, step: Step, form: tuple[object, ...], pack: Callable[[], SparseRows]) -> SparseRows:
        """Returns the packed weights of a step, which are packed once for each form."""
        key = step.name, *form
        if key not in self.memo:
            self.memo[key] = pack()
        self.weights[step.name] = self.memo[key]
        return self.memo[key]

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
        windows = _windows(step)
        if windows:
            (_, _, _, width), (_, _, out_height, out_width) = (
                graph.values[numbers[0]].shape for numbers in (step.inputs, step.outputs)
            )
            found[out_height, out_width] = max(found[out_height, out_width], least_row(windows, width, out_width))
    return found


def _windows(step: Step) -> Windows | None:
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
        memo: packed weights by step and form; those that are missing are added.

    Raises:
        NotNative: a step has no kernel.
    """
    used = {*graph.inputs.values(), *(number for step in graph.steps for number in (*step.inputs, *step.outputs))}
    sizes = {graph.values[number].shape[:1] for number in used}
    if len(sizes) != 1:
        raise NotNative(f"values with batches of different sizes, {sizes}")
    made = Lowering(graph, batch, threads, machine or host(), {} if memo is None else memo)
    for name, number in graph.inputs.items():
        _enter(made, name, number)
    for step in graph.steps:
        if step.kind not in LOWER:
            raise NotNative(f"layer {step.name!r} of type {step.kind}")
        LOWER[step.kind](made, step)
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


def _array(tensor: Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.ascontiguousarray(tensor.detach().float().numpy())
    return found


_NONE = np.zeros(1, np.float32)


def _numbers(activation: Activation | None) -> tuple[str, float, float]:
    if activation is None:
        return "", 0.0, 0.0
    first, second, *_ = (*map(float, activation.numbers), 0.0, 0.0)
    return activation.kind, first, second


def vectors_at_once(count: int, lanes: int) -> int:
    """Returns of how many vectors a plane is computed at once, so that the least is computed in vain."""
    most = 8 if lanes == 16 else 6
    blocks = {width: -(-count // width) for width in range(1, most + 1)}
    allowed = [width for width, number in blocks.items() if number * width <= count + 3]
    return min(allowed, key=lambda width: (blocks[width] * (width + 1.4), -width))


def _into_phases(made: Lowering, step: Step, windows: Windows, fill: float) -> tuple[Piece, npt.NDArray[np.int64], int]:
    """Returns the phases of the input, the offsets by channel, kernel row and column, and the size of an image."""
    source, out = made.layout(step.inputs[0]), made.layout(step.outputs[0])
    if windows.is_pointwise():
        offsets = np.arange(source.channels, dtype=np.int64)[:, None, None] * source.plane
        return made.value(step.inputs[0]), offsets, source.channels * source.plane
    made_phases = phases(windows, out, made.lanes)
    image = source.channels * made_phases.number * made_phases.plane
    piece = made.new(made.batch * image)
    rows = (made_phases.plane - made_phases.before) // made_phases.row
    made.call(
        moving.into_phases, (), made.value(step.inputs[0]), piece, fill, made.batch * source.channels, source.plane,
        source.row, source.height, source.width, made_phases.plane, made_phases.before, made_phases.row, rows,
        windows.stride[0], windows.stride[1], made_phases.number,
    )  # fmt: skip
    channels = np.arange(source.channels, dtype=np.int64)[:, None, None] * (made_phases.number * made_phases.plane)
    return piece, channels + made_phases.offsets, image


@LOWER.register("Convolution")
def _convolution(made: Lowering, step: Step) -> None:
    windows = _windows(step)
    if windows is None or not is_convolution(step):
        raise NotNative(f"layer {step.name!r}: a convolution over other than two axes")
    weight, out = _array(step.weights["weight"]), made.layout(step.outputs[0])
    source, offsets, image = _into_phases(made, step, windows, 0.0)
    _product(made, step, _ungrouped(weight, step.settings.group), source, offsets.reshape(-1), image, out)


def _ungrouped(weight: npt.NDArray[np.float32], groups: int) -> npt.NDArray[np.float32]:
    """Returns the weight over all channels, (outputs, channels * kernel)."""
    rows: npt.NDArray[np.float32] = weight.reshape(groups, len(weight) // groups, -1)
    if groups == 1:
        return weight.reshape(len(weight), -1)
    whole = np.zeros((groups, rows.shape[1], groups, rows.shape[2]), np.float32)
    for group in range(groups):
        whole[group, :, group] = rows[group]
    flat: npt.NDArray[np.float32] = whole.reshape(len(weight), -1)
    return flat


def _product(
    made: Lowering, step: Step, matrix: npt.NDArray[np.float32], source: Piece, offsets: npt.NDArray[np.int64],
    image: int, out: Layout, batch: int | None = None, target: Piece | None = None,
) -> None:  # fmt: skip
    held = made.held(step, (), lambda: sparse_rows(matrix))
    batch = made.batch if batch is None else batch
    count = -(-out.span // made.lanes)
    vectors = vectors_at_once(count, made.lanes)
    blocks = -(-count // vectors)
    activation, low, high = _numbers(step.activation)
    bias = step.weights.get("bias")
    epilogue = Epilogue(bias is not None, step.adds, activation)
    summand = made.value(step.inputs[-1]) if step.adds else _NONE
    chunks = 1 if made.threads == 1 else -(-4 * made.threads // (blocks * batch))
    made.call(
        product, (vectors, len(held.codes) > 0, epilogue), *held, offsets.astype(np.int32), source,
        made.output(step.outputs[0]) if target is None else target, _NONE if bias is None else _array(bias), summand,
        low, high, len(matrix), blocks, batch, min(chunks, len(matrix)), image, out.plane, out.channels * out.plane,
    )  # fmt: skip


# images from which on an inner product keeps a vector of them in a register
_MANY = 6


@LOWER.register("InnerProduct")
def _inner_product(made: Lowering, step: Step) -> None:
    if step.adds or step.settings.axis != 1:
        raise NotNative(f"layer {step.name!r}: an inner product from axis {step.settings.axis} on")
    weight = _array(step.weights["weight"])
    source, out = made.layout(step.inputs[0]), made.layout(step.outputs[0])
    offsets = source.offsets().reshape(-1).astype(np.int32)
    image = source.channels * source.plane
    if made.batch >= _MANY:
        across = planes(len(weight), 1, made.batch, made.batch, made.lanes)
        inputs = planes(weight.shape[1], 1, made.batch, made.batch, made.lanes)
        before, after = made.new(inputs.size(1)), made.new(across.size(1))
        made.call(
            columns.into_columns, (), offsets, made.value(step.inputs[0]), before, weight.shape[1], made.batch, image,
            inputs.plane,
        )  # fmt: skip
        starts = np.arange(weight.shape[1], dtype=np.int64) * inputs.plane
        _product(made, step, weight, before, starts, 0, across, 1, after)
        made.call(
            columns.out_of_columns, (), after, made.output(step.outputs[0]), len(weight), made.batch, across.plane,
            out.channels * out.plane,
        )  # fmt: skip
        return
    chunks = 1 if made.threads == 1 else min(4 * made.threads, len(weight))
    held = made.held(step, (chunks,), lambda: columns.sparse_columns(weight, chunks))
    activation, low, high = _numbers(step.activation)
    bias = step.weights.get("bias")
    made.call(
        columns.columns, (len(held.codes) > 0, bias is not None, activation), *held, offsets,
        made.value(step.inputs[0]), made.output(step.outputs[0]), _NONE if bias is None else _array(bias), low, high,
        weight.shape[1], len(weight), made.batch, chunks, image, out.channels * out.plane,
    )  # fmt: skip


@LOWER.register("Pooling")
def _pooling(made: Lowering, step: Step) -> None:
    settings = step.settings
    if settings.method == "STOCHASTIC" or len(step.outputs) == 2:
        raise NotNative(f"layer {step.name!r}: a pooling with draws or places")
    windows = _windows(step)
    assert windows is not None
    maximum, out = settings.method == "MAX", made.layout(step.outputs[0])
    smallest = float(np.finfo(np.float32).min)
    source, offsets, image = _into_phases(made, step, windows, smallest if maximum else 0.0)
    one = offsets[0] if offsets.ndim == 3 else offsets
    plane = image // out.channels
    share = np.zeros(out.plane, np.float32)
    if not maximum:
        areas = [_counts(*axis) for axis in zip(settings.plane, *windows[:3], settings.sizes, strict=True)]
        share[: out.span].reshape(out.height, out.row)[:, : out.width] = 1 / np.outer(*areas)
    count = -(-out.span // made.lanes)
    vectors = min(vectors_at_once(count, made.lanes), 4)
    made.call(
        pooling.pool, (vectors, maximum), one.reshape(-1).astype(np.int32), source, made.output(step.outputs[0]), share,
        one.size, made.batch * out.channels, -(-count // vectors), int(plane), out.plane,
    )  # fmt: skip


@LOWER.register("GlobalMean")
def _global_mean(made: Lowering, step: Step) -> None:
    source = made.layout(step.inputs[0])
    windows = Windows((source.height, source.width), (1, 1), (0, 0), (1, 1))
    row = least_row(windows, source.width, 1)
    out = planes(source.channels, 1, 1, row, made.lanes)
    found = made.new(out.size(made.batch))
    share = np.full(out.plane, 1 / (source.height * source.width), np.float32)
    offsets = source.offsets()[0].reshape(-1).astype(np.int32)
    made.call(
        pooling.pool, (1, False), offsets, made.value(step.inputs[0]), found, share, offsets.size,
        made.batch * source.channels, 1, source.plane, out.plane,
    )  # fmt: skip
    target = made.layout(step.outputs[0])
    flat = len(made.graph.values[step.outputs[0]].shape) == 2
    made.call(
        moving.rows, (), found, made.output(step.outputs[0]), made.batch * source.channels, out.plane, 1, 1, 1,
        1 if flat else target.plane, 1,
    )  # fmt: skip


def _counts(length: int, kernel: int, stride: int, pad: int, size: int) -> npt.NDArray[np.float32]:
    """Returns how many entries of the padded axis each window covers."""
    starts = np.arange(size) * stride - pad
    covered = np.maximum(np.minimum(starts + kernel, length + pad) - starts, 1)
    found: npt.NDArray[np.float32] = covered.astype(np.float32)
    return found


@LOWER.register("Eltwise")
def _eltwise(made: Lowering, step: Step) -> None:
    factors = list(step.settings.coeff) or [1.0] * len(step.inputs)
    before = made.value(step.inputs[0])
    layout = made.layout(step.outputs[0])
    target = made.output(step.outputs[0])
    first = factors[0]
    for number, factor in zip(step.inputs[1:], factors[1:], strict=True):
        made.call(
            pointwise.combine, (step.settings.operation, ""), before, made.value(number), target, float(first),
            float(factor), 0.0, 0.0, -(-layout.size(made.batch) // made.lanes),
        )  # fmt: skip
        before, first = target, 1.0


@LOWER.register("ReLU", "Clip")
def _activation(made: Lowering, step: Step) -> None:
    _affine(made, step, activation_of(step), None)


@LOWER.register("BatchNorm", "Scale", "Bias")
def _normalization(made: Lowering, step: Step) -> None:
    found = affine_of(step, made.graph.values[step.inputs[0]].shape)
    if found is None:
        raise NotNative(f"layer {step.name!r} of type {step.kind}: not by channel alone")
    _affine(made, step, None, (_array(found.factor), _array(found.summand)))


def _affine(
    made: Lowering, step: Step, activation: Activation | None,
    numbers: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
) -> None:  # fmt: skip
    layout = made.layout(step.outputs[0])
    kind, low, high = _numbers(activation)
    channels, plane = layout.channels, layout.plane
    if numbers and len(made.graph.values[step.outputs[0]].shape) == 2:
        raise NotNative(f"layer {step.name!r}: a scale of rows")
    factor, summand = numbers or (_NONE, _NONE)
    made.call(
        pointwise.affine, (numbers is not None, kind), made.value(step.inputs[0]), made.output(step.outputs[0]), factor,
        summand, low, high, made.batch * channels, channels, plane,
    )  # fmt: skip


@LOWER.register("LRN")
def _response(made: Lowering, step: Step) -> None:
    settings, layout = step.settings, made.layout(step.outputs[0])
    if not settings.across:
        raise NotNative(f"layer {step.name!r}: local response normalization within channels")
    made.call(
        pointwise.response, (settings.beta == 0.75,), made.value(step.inputs[0]), made.output(step.outputs[0]),
        settings.alpha / settings.size, float(settings.k), float(settings.beta), made.batch, layout.channels,
        layout.plane, settings.size // 2,
    )  # fmt: skip


@LOWER.register("Softmax")
def _softmax(made: Lowering, step: Step) -> None:
    layout, value = made.layout(step.outputs[0]), made.graph.values[step.outputs[0]]
    if step.settings.axis != 1:
        raise NotNative(f"layer {step.name!r}: a softmax along axis {step.settings.axis}")
    image = layout.channels * layout.plane
    flat = len(value.shape) == 2
    channels, plane = (layout.width, 1) if flat else (layout.channels, layout.plane)
    made.call(
        pointwise.softmax, (), made.value(step.inputs[0]), made.output(step.outputs[0]), made.batch,
        1 if flat else layout.span, channels, image, plane,
    )  # fmt: skip


@LOWER.register("Concat")
def _concat(made: Lowering, step: Step) -> None:
    out = made.layout(step.outputs[0])
    if step.settings.axis != 1 or len(made.graph.values[step.outputs[0]].shape) != 4:
        raise NotNative(f"layer {step.name!r}: a concatenation of other than channels")
    target, before = made.output(step.outputs[0]), 0
    for number in step.inputs:
        size = made.layout(number).channels * out.plane
        made.call(moving.part, (), made.value(number), target, before, made.batch, size, size, out.channels * out.plane)
        before += size


@LOWER.register("Flatten", "Reshape")
def _flatten(made: Lowering, step: Step) -> None:
    source, out = made.layout(step.inputs[0]), made.graph.values[step.outputs[0]].shape
    if len(out) != 2:
        raise NotNative(f"layer {step.name!r}: a shape of {len(out)} axes")
    made.call(
        moving.rows, (), made.value(step.inputs[0]), made.output(step.outputs[0]), made.batch * source.channels,
        source.plane, source.row, source.height, source.width, source.height * source.width, source.width,
    )  # fmt: skip
