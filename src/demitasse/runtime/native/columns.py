"""Inner products of one row at a time: by columns, of which those whose input is 0 are passed over."""

from __future__ import annotations

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import BYTE, FLOAT, INT, LONG, Machine

COLUMNS = (
    "*starts *gaps *codes *values *factor *order *offsets *input *output *bias .low .high inputs outputs images chunks "
    "input_image output_image"
)
# columns by which memory is asked for before it is needed
_AHEAD = 4
_LINE = 64


def columns(machine: Machine, coded: bool, lists: bool, activation: str, factor: bool) -> ir.Module:
    """Returns the kernel that multiplies sparse columns with the values at ``offsets`` of each image.

    Args:
        machine: what it is for.
        coded: whether entries have codes.
        lists: whether columns are listed first and their weights asked for beforehand, which pays where these do not
            fit into the cache; ``order`` has room for a list of each thread. Else it says in which order they come.
        activation: what follows.
        factor: whether each output has a number by which the product is multiplied first.
    """
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
            code.store(FLOAT(0.0) if factor else code.load(code.bias, code.add(begin, place)), target, place)
        base = code.mul(chunk, code.inputs)
        if lists:
            _listed_columns(code, source, base, target, coded)
        else:
            with code.loop(0, code.inputs) as index:
                column = code.load(code.order, index, INT)
                value = code.load(source, code.load(code.offsets, column, INT))
                with code.b.if_then(code.b.fcmp_unordered("!=", value, FLOAT(0.0))):
                    _column(code, code.add(base, column), value, target, coded)
        if activation or factor:
            with code.loop(0, count) as place:
                value, row = code.load(target, place), code.add(begin, place)
                if factor:
                    value = code.intrinsic("fma", value, code.load(code.factor, row), code.load(code.bias, row))
                code.store(_activated(code, value, activation), target, place)
    return code.finish()


def _listed_columns(code: KernelCode, source: Operand, base: Operand, target: Operand, coded: bool) -> None:
    """Lists the columns whose input is not 0, without a branch for each, and goes through the list."""
    listed, found = code.at(code.order, code.mul(code.thread, code.inputs), INT), code.variable(LONG(0))
    with code.loop(0, code.inputs) as column:
        value = code.load(source, code.load(code.offsets, column, INT))
        code.store(code.b.trunc(column, INT), listed, code.get(found))
        counts = code.b.fcmp_unordered("!=", value, FLOAT(0.0))
        code.set(found, code.add(code.get(found), code.b.zext(counts, LONG)))
    last = code.add(code.get(found), -1)
    with code.loop(0, code.get(found)) as index:
        column, ahead = code.load(listed, index, INT), code.add(index, _AHEAD)
        ahead = code.b.select(code.b.icmp_signed("<", ahead, last), ahead, last)
        _fetch(code, code.add(base, code.load(listed, ahead, INT)), coded)
        value = code.load(source, code.load(code.offsets, column, INT))
        _column(code, code.add(base, column), value, target, coded)


def _fetch(code: KernelCode, column: Operand, coded: bool) -> None:
    """Asks for the weights of a column, which the processor does not foresee where columns are passed over."""
    first, last = (code.load(code.starts, code.add(column, step), INT) for step in (0, 1))
    with code.loop(first, last, _LINE) as entry:
        code.fetch(code.at(code.gaps, entry, BYTE))
        if coded:
            code.fetch(code.at(code.codes, entry, BYTE))
        else:
            for part in range(0, _LINE, _LINE // 4):
                code.fetch(code.at(code.values, code.add(entry, part)))


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
