"""Convolutions, and inner products of many rows, with sparse weights over planes.

A row of the weights makes a plane of the output: for each of its weights the plane that the weight sees, moved by the
weight's place in its window, is taken times the weight and added. Several vectors of a plane are kept in registers
while a row's weights go by, which are read once for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import BYTE, INT, LONG, Machine


class Epilogue(NamedTuple):
    """What is done to sums before they are stored.

    Attributes:
        bias: whether each row has a number that is added.
        adds: whether another value is added.
        activation: ``""``, ``ReLU``, ``LeakyReLU`` or ``Clip``.
        factor: whether each row has a number by which the product is multiplied first.
    """

    bias: bool = False
    adds: bool = False
    activation: str = ""
    factor: bool = False


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


PRODUCT = (
    "*starts *gaps *codes *values *factor *offsets *input *output *bias *summand .low .high rows blocks images chunks "
    "input_image output_plane output_image"
)


def product(machine: Machine, vectors: int, coded: bool, epilogue: Epilogue) -> ir.Module:
    """Returns the kernel that multiplies sparse rows with planes.

    Args:
        machine: what it is for.
        vectors: of a plane that are computed at once.
        coded: whether entries have codes.
        epilogue: what follows.
    """
    code = KernelCode("kernel", machine, PRODUCT)
    width = vectors * machine.lanes
    first, last = code.share(code.mul(code.mul(code.images, code.blocks), code.chunks))
    with code.loop(first, last) as item:
        chunk = code.rem(item, code.chunks)
        block = code.rem(code.div(item, code.chunks), code.blocks)
        image = code.div(item, code.mul(code.chunks, code.blocks))
        place = code.mul(block, width)
        planes = code.at(code.input, code.add(code.mul(image, code.input_image), place))
        out = code.add(code.mul(image, code.output_image), place)
        begin = code.div(code.mul(chunk, code.rows), code.chunks)
        end = code.div(code.mul(code.add(chunk, 1), code.rows), code.chunks)
        with code.loop(begin, end) as row:
            _row(code, row, planes, code.add(out, code.mul(row, code.output_plane)), vectors, coded, epilogue)
    return code.finish()


def _row(
    code: KernelCode, row: Operand, planes: Operand, out: Operand, vectors: int, coded: bool, epilogue: Epilogue
) -> None:
    bias = code.splat(code.load(code.bias, row)) if epilogue.bias else code.splat(0.0)
    sums = [code.variable(code.splat(0.0) if epilogue.factor else bias) for _ in range(vectors)]
    column = code.variable(LONG(0))
    with code.loop(code.load(code.starts, row, INT), code.load(code.starts, code.add(row, 1), INT)) as entry:
        code.set(column, code.add(code.get(column), code.load(code.gaps, entry, BYTE)))
        place = code.load(code.offsets, code.get(column), INT)
        number = code.load(code.codes, entry, BYTE) if coded else entry
        weight = code.splat(code.load(code.values, number))
        for index, total in enumerate(sums):
            seen = code.load_vector(planes, code.add(place, index * code.lanes))
            code.set(total, code.intrinsic("fma", seen, weight, code.get(total)))
    for index, total in enumerate(sums):
        at = code.add(out, index * code.lanes)
        value = code.get(total)
        if epilogue.factor:
            value = code.intrinsic("fma", value, code.splat(code.load(code.factor, row)), bias)
        if epilogue.adds:
            value = code.b.fadd(value, code.load_vector(code.summand, at))
        code.store_vector(activated(code, value, epilogue.activation), code.output, at)
