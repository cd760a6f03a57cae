"""Convolutions, and inner products of many rows, with sparse weights over planes.

A row of the weights makes a plane of the output: for each of its weights the plane that the weight sees, moved by the
weight's place in its window, is taken times the weight and added. Several vectors of a plane are kept in registers
while a row's weights go by, which are read once for all of them. Where rows are long, their columns come in panels, so
that what the weights of a panel see stays in the cache while all rows go by.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import BYTE, INT, LONG, Machine


class Epilogue(NamedTuple):
    """What is done to sums before they are stored, beside the number of each row that is added.

    Attributes:
        factor: whether sums are multiplied with a number of each row, before.
        adds: whether another value is added.
        activation: ``""``, ``ReLU``, ``LeakyReLU`` or ``Clip``.
    """

    factor: bool = False
    adds: bool = False
    activation: str = ""


def activated(code: KernelCode, value: Operand, activation: str) -> Operand:
    """Returns an activation of a vector; its numbers are the arguments ``low`` and ``high`` of the kernel."""
    b = code.b
    if activation == "ReLU":
        zero = code.splat(0.0)
        return b.select(b.fcmp_ordered("<", value, zero), zero, value)
    if activation == "LeakyReLU":
        scaled = b.fmul(value, code.splat(code.low))
        return b.select(b.fcmp_ordered("<", value, code.splat(0.0)), scaled, value)
    if activation == "Clip":
        low, high = code.splat(code.low), code.splat(code.high)
        value = b.select(b.fcmp_ordered("<", value, low), low, value)
        return b.select(b.fcmp_ordered(">", value, high), high, value)
    return value


# of all kernels that multiply matrices with planes
PLANES = (
    "*bases *offsets *input *output *factor *bias *summand .low .high rows blocks images chunks "
    "input_image output_plane output_image"
)
PRODUCT = f"*starts *gaps *codes *values panels panel {PLANES}"


class Block(NamedTuple):
    """What is computed by one thread while its part of the planes stays in the cache.

    Attributes:
        begin: the first row, or group of rows.
        end: behind the last one.
        planes: the first input.
        out: place of the first output of row 0.
    """

    begin: Operand
    end: Operand
    planes: Operand
    out: Operand


@contextmanager
def blocks(code: KernelCode, vectors: int, groups: Operand) -> Iterator[Block]:
    """Runs the body for each block of this thread: some vectors of the planes of an image, and a chunk of rows."""
    first, last = code.share(code.mul(code.mul(code.images, code.blocks), code.chunks))
    with code.loop(first, last) as item:
        chunk = code.rem(item, code.chunks)
        block = code.rem(code.div(item, code.chunks), code.blocks)
        image = code.div(item, code.mul(code.chunks, code.blocks))
        place = code.mul(block, vectors * code.lanes)
        planes = code.at(code.input, code.add(code.mul(image, code.input_image), place))
        out = code.add(code.mul(image, code.output_image), place)
        begin = code.div(code.mul(chunk, groups), code.chunks)
        yield Block(begin, code.div(code.mul(code.add(chunk, 1), groups), code.chunks), planes, out)


def started(code: KernelCode, row: Operand, epilogue: Epilogue) -> Operand:
    """Returns the vector that the sums of a row begin with."""
    return code.splat(0.0) if epilogue.factor else code.splat(code.load(code.bias, row))


def finish(code: KernelCode, row: Operand, out: Operand, sums: Sequence[Operand], epilogue: Epilogue) -> None:
    """Stores the results of a row."""
    for index, value in enumerate(sums):
        at = code.add(out, index * code.lanes)
        if epilogue.factor:
            factor, bias = (code.splat(code.load(each, row)) for each in (code.factor, code.bias))
            value = code.intrinsic("fma", value, factor, bias)
        if epilogue.adds:
            value = code.b.fadd(value, code.load_vector(code.summand, at))
        code.store_vector(activated(code, value, epilogue.activation), code.output, at)


def product(machine: Machine, vectors: int, coded: bool, epilogue: Epilogue) -> ir.Module:
    """Returns the kernel that multiplies sparse rows with planes.

    Args:
        machine: what it is for.
        vectors: of a plane that are computed at once.
        coded: whether entries have codes.
        epilogue: what follows.
    """
    code = KernelCode("kernel", machine, PRODUCT)
    with blocks(code, vectors, code.rows) as block, code.loop(0, code.panels) as panel:
        offsets = code.at(code.offsets, code.mul(panel, code.panel), INT)
        is_first = code.b.icmp_signed("==", panel, LONG(0))
        is_last = code.b.icmp_signed("==", code.add(panel, 1), code.panels)
        with code.loop(block.begin, block.end) as row:
            out = code.add(block.out, code.mul(row, code.output_plane))
            sums = [code.variable(code.splat(0.0)) for _ in range(vectors)]
            with code.b.if_else(is_first) as (first, later):
                with first:
                    start = started(code, row, epilogue)
                    for total in sums:
                        code.set(total, start)
                with later:
                    for index, total in enumerate(sums):
                        code.set(total, code.load_vector(code.output, code.add(out, index * code.lanes)))
            seen = code.at(offsets, code.load(code.bases, row, INT), INT)
            _entries(code, code.add(code.mul(panel, code.rows), row), block.planes, seen, sums, coded)
            with code.b.if_else(is_last) as (last, before):
                with last:
                    finish(code, row, out, [code.get(total) for total in sums], epilogue)
                with before:
                    for index, total in enumerate(sums):
                        code.store_vector(code.get(total), code.output, code.add(out, index * code.lanes))
    return code.finish()


def _entries(
    code: KernelCode, row: Operand, planes: Operand, offsets: Operand, sums: Sequence[Operand], coded: bool
) -> None:
    column = code.variable(LONG(0))
    with code.loop(code.load(code.starts, row, INT), code.load(code.starts, code.add(row, 1), INT)) as entry:
        code.set(column, code.add(code.get(column), code.load(code.gaps, entry, BYTE)))
        place = code.load(offsets, code.get(column), INT)
        number = code.load(code.codes, entry, BYTE) if coded else entry
        weight = code.splat(code.load(code.values, number))
        for index, total in enumerate(sums):
            seen = code.load_vector(planes, code.add(place, index * code.lanes))
            code.set(total, code.intrinsic("fma", seen, weight, code.get(total)))
