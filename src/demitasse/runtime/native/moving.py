"""Kernels that move values: into planes, into phases, and out of planes."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import INT, LONG, Machine

PHASES = (
    "*tops *lefts *shifts *input *output .fill planes input_plane input_row height width output_plane before "
    "output_row rows down across copies"
)


def into_phases(machine: Machine) -> ir.Module:
    """Returns the kernel that makes copies of planes, with ``fill`` wherever there is no pixel."""
    code = KernelCode("kernel", machine, PHASES)
    first, last = code.share(code.mul(code.planes, code.copies))
    with code.loop(first, last) as item:
        copy, plane = code.rem(item, code.copies), code.div(item, code.copies)
        y0, x0 = code.load(code.tops, copy, INT), code.load(code.lefts, copy, INT)
        source = code.at(code.input, code.add(code.mul(plane, code.input_plane), code.mul(y0, code.input_row), x0))
        target = code.at(code.output, code.mul(item, code.output_plane))
        height = code.div(code.add(code.b.sub(code.height, y0), code.down, -1), code.down)
        few = code.b.icmp_signed("<", height, code.rows)
        height = code.b.select(few, height, code.rows)
        width = code.div(code.add(code.b.sub(code.width, x0), code.across, -1), code.across)
        start = code.b.sub(code.before, code.load(code.shifts, copy, INT))
        with code.loop(0, start, code.lanes) as place:  # pixels are written over what is too much
            code.store_vector(code.splat(code.fill), target, place)
        step = code.mul(code.input_row, code.down)
        rows = code.at(target, start)
        is_dense, is_halved = (code.b.icmp_signed("==", code.across, LONG(across)) for across in (1, 2))
        with code.b.if_else(is_dense) as (dense, strided):
            with dense:
                _rows(code, source, rows, height, width, step, _dense)
            with strided, code.b.if_else(is_halved) as (halved, other):
                with halved:
                    _rows(code, source, rows, height, width, step, _halved)
                with other:
                    _rows(code, source, rows, height, width, step, _strided)
        with code.loop(code.add(start, code.mul(height, code.output_row)), code.output_plane) as place:
            code.store(code.fill, target, place)
    return code.finish()


def _rows(
    code: KernelCode, source: Operand, target: Operand, height: Operand, width: Operand, step: Operand,
    copy: Callable[[KernelCode, Operand, Operand, Operand], None],
) -> None:  # fmt: skip
    """Copies rows in whole vectors, from the first to the last: each is written over what the one before wrote."""
    with code.loop(0, height) as y:
        row = code.at(target, code.mul(y, code.output_row))
        copy(code, code.at(source, code.mul(y, step)), row, width)
        with code.loop(width, code.output_row, code.lanes) as x:
            code.store_vector(code.splat(code.fill), row, x)


def _dense(code: KernelCode, line: Operand, row: Operand, width: Operand) -> None:
    with code.loop(0, width, code.lanes) as x:
        code.store_vector(code.load_vector(line, x), row, x)


def _halved(code: KernelCode, line: Operand, row: Operand, width: Operand) -> None:
    even = ir.Constant(ir.VectorType(INT, code.lanes), list(range(0, 2 * code.lanes, 2)))
    with code.loop(0, width, code.lanes) as x:
        pair = [code.load_vector(line, code.add(code.mul(x, 2), part)) for part in (0, code.lanes)]
        code.store_vector(code.b.shuffle_vector(*pair, even), row, x)


def _strided(code: KernelCode, line: Operand, row: Operand, width: Operand) -> None:
    with code.loop(0, width) as x:
        code.store(code.load(line, code.mul(x, code.across)), row, x)


ROWS = "*input *output planes input_plane input_row height width output_plane output_row"


def rows(machine: Machine) -> ir.Module:
    """Returns the kernel that copies the pixels of planes into planes with other distances."""
    code = KernelCode("kernel", machine, ROWS)
    first, last = code.share(code.planes)
    with code.loop(first, last) as plane, code.loop(0, code.height) as y:
        source = code.at(code.input, code.add(code.mul(plane, code.input_plane), code.mul(y, code.input_row)))
        target = code.at(code.output, code.add(code.mul(plane, code.output_plane), code.mul(y, code.output_row)))
        with code.loop(0, code.width) as x:
            code.store(code.load(source, x), target, x)
    return code.finish()


PART = "*input *output before images size input_image output_image"


def part(machine: Machine) -> ir.Module:
    """Returns the kernel that copies each image to a place in an image of the output."""
    code = KernelCode("kernel", machine, PART)
    piece = 1 << 12
    pieces = code.div(code.add(code.size, piece - 1), piece)
    first, last = code.share(code.mul(code.images, pieces))
    with code.loop(first, last) as item:
        image, start = code.div(item, pieces), code.mul(code.rem(item, pieces), piece)
        source = code.at(code.input, code.mul(image, code.input_image))
        target = code.at(code.output, code.add(code.mul(image, code.output_image), code.before))
        stop = code.add(start, piece)
        stop = code.b.select(code.b.icmp_signed(">", stop, code.size), code.size, stop)
        with code.loop(start, stop) as place:
            code.store(code.load(source, place), target, place)
    return code.finish()
