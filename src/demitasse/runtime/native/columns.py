"""Inner products of one row at a time: by columns, of which those whose input is 0 are passed over."""

from __future__ import annotations

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import BYTE, FLOAT, INT, LONG, Machine

COLUMNS = (
    "*starts *gaps *codes *values *factor *offsets *input *output *bias .low .high inputs outputs images chunks "
    "input_image output_image"
)


def columns(machine: Machine, coded: bool, bias: bool, activation: str, factor: bool) -> ir.Module:
    """Returns the kernel that multiplies sparse columns with the values at ``offsets`` of each image."""
    code = KernelCode("kernel", machine, COLUMNS)
    first, last = code.share(code.mul(code.images, code.chunks))
    with code.loop(first, last) as item:
        chunk, image = code.rem(item, code.chunks), code.div(item, code.chunks)
        begin = code.div(code.mul(chunk, code.outputs), code.chunks)
        end = code.div(code.mul(code.add(chunk, 1), code.outputs), code.chunks)
        source = code.at(code.input, code.mul(image, code.input_image))
        target = code.at(code.output, code.add(code.mul(image, code.output_image), begin))
        count = code.b.sub(end, begin)
        with code.loop(0, count) as place:
            code.store(FLOAT(0.0) if factor else _bias(code, code.add(begin, place), bias), target, place)
        with code.loop(0, code.inputs) as column:
            value = code.load(source, code.load(code.offsets, column, INT))
            with code.b.if_then(code.b.fcmp_unordered("!=", value, FLOAT(0.0))):
                _column(code, code.add(code.mul(chunk, code.inputs), column), value, target, coded)
        if activation or factor:
            with code.loop(0, count) as place:
                value, row = code.load(target, place), code.add(begin, place)
                if factor:
                    value = code.intrinsic("fma", value, code.load(code.factor, row), _bias(code, row, bias))
                code.store(_activated(code, value, activation), target, place)
    return code.finish()


def _bias(code: KernelCode, row: Operand, bias: bool) -> Operand:
    return code.load(code.bias, row) if bias else FLOAT(0.0)


def _column(code: KernelCode, column: Operand, value: Operand, target: Operand, coded: bool) -> None:
    place = code.variable(LONG(0))
    with code.loop(code.load(code.starts, column, INT), code.load(code.starts, code.add(column, 1), INT)) as entry:
        code.set(place, code.add(code.get(place), code.load(code.gaps, entry, BYTE)))
        weight = code.load(code.values, code.load(code.codes, entry, BYTE) if coded else entry)
        known = code.load(target, code.get(place))
        code.store(code.intrinsic("fma", weight, value, known), target, code.get(place))


def _activated(code: KernelCode, value: Operand, activation: str) -> Operand:
    b = code.b
    if not activation:
        return value
    if activation == "ReLU":
        return b.select(b.fcmp_ordered("<", value, FLOAT(0.0)), FLOAT(0.0), value)
    if activation == "LeakyReLU":
        return b.select(b.fcmp_ordered("<", value, FLOAT(0.0)), b.fmul(value, code.low), value)
    value = b.select(b.fcmp_ordered("<", value, code.low), code.low, value)
    return b.select(b.fcmp_ordered(">", value, code.high), code.high, value)


TRANSPOSE = "*offsets *input *output columns images input_image output_plane"


def into_columns(machine: Machine) -> ir.Module:
    """Returns the kernel that makes a plane of each input, with a position for each image."""
    code = KernelCode("kernel", machine, TRANSPOSE)
    first, last = code.share(code.columns)
    with code.loop(first, last) as column:
        source = code.at(code.input, code.load(code.offsets, column, INT))
        with code.loop(0, code.images) as image:
            value = code.load(source, code.mul(image, code.input_image))
            code.store(value, code.output, code.add(code.mul(column, code.output_plane), image))
        with code.loop(code.images, code.output_plane) as image:
            code.store(FLOAT(0.0), code.output, code.add(code.mul(column, code.output_plane), image))
    return code.finish()


BACK = "*input *output columns images input_plane output_image"


def out_of_columns(machine: Machine) -> ir.Module:
    """Returns the kernel that makes a row of each image again."""
    code = KernelCode("kernel", machine, BACK)
    first, last = code.share(code.images)
    with code.loop(first, last) as image, code.loop(0, code.columns) as column:
        value = code.load(code.input, code.add(code.mul(column, code.input_plane), image))
        code.store(value, code.output, code.add(code.mul(image, code.output_image), column))
    return code.finish()
