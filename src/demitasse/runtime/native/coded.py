"""Inner products from 4-bit codes of powers of two: limited by reading half a byte a weight.

AVX-512 looks codes up in a register. For other processors a code is shifted so that its number m is the exponent of a
float32, which is then 2^(m - 127), or 0 for m = 0, and multiplied by a constant.
"""

from __future__ import annotations

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode, Operand
from demitasse.runtime.native.llvm import FLOAT, INT, Machine
from demitasse.runtime.native.nibbles import BIAS, CODES, LEVELS, ROWS, values
from demitasse.runtime.native.product import activated

# images whose sums are in registers with those of several rows; the codes are decoded again for the next ones
_AT_ONCE = 4

GATHER = "*offsets *input *output columns images input_image output_image"


def gather(machine: Machine) -> ir.Module:
    """Returns the kernel that copies the values at ``offsets`` of each image to a row, which ends in zeros."""
    code = KernelCode("kernel", machine, GATHER)
    first, last = code.share(code.images)
    with code.loop(first, last) as image:
        source = code.at(code.input, code.mul(image, code.input_image))
        target = code.at(code.output, code.mul(image, code.output_image))
        with code.loop(0, code.columns) as column:
            code.store(code.load(source, code.load(code.offsets, column, INT)), target, column)
        with code.loop(code.columns, code.output_image) as column:
            code.store(FLOAT(0.0), target, column)
    return code.finish()


PRODUCT = "*codes *factors *input *output *bias .low .high rows groups blocks input_image output_image"


def product(machine: Machine, images: int, bias: bool, activation: str) -> ir.Module:
    """Returns the kernel that multiplies the rows of codes with each of a few images.

    Args:
        machine: what it is for.
        images: rows of inputs, 1 to 8.
        bias: whether each output has a number that is added.
        activation: what follows, see :class:`~demitasse.runtime.native.product.Epilogue`.
    """
    code = KernelCode("kernel", machine, PRODUCT)
    first, last = code.share(code.groups)
    with code.loop(first, last) as group:
        words = code.at(code.codes, code.mul(group, code.mul(code.blocks, ROWS * code.lanes)), INT)
        for start in range(0, images, _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, images))
            rows = ROWS if ROWS * len(part) <= machine.registers // 2 else ROWS // 2
            for row in range(0, ROWS, rows):
                sums = _sums(code, code.at(words, row * code.lanes, INT), rows, part)
                for index, totals in enumerate(sums):
                    place = code.add(code.mul(group, ROWS), row + index)
                    with code.b.if_then(code.b.icmp_signed("<", place, code.rows)):
                        _finish(code, place, dict(zip(part, totals, strict=True)), bias, activation)
    return code.finish()


def _sums(code: KernelCode, words: Operand, rows: int, images: range) -> list[list[Operand]]:
    """Returns the sums of each row, by image, as variables that hold vectors."""
    sums = [[code.variable(code.splat(0.0)) for _ in images] for _ in range(rows)]
    kind = ir.VectorType(INT, code.lanes)
    with code.loop(0, code.blocks) as block:
        at = code.mul(block, ROWS * code.lanes)
        held = [
            code.b.load(code.at(words, code.add(at, row * code.lanes), INT), typ=kind, align=4) for row in range(rows)
        ]
        for k in range(CODES):
            place = code.mul(code.add(code.mul(block, CODES), k), code.lanes)
            seen = [code.load_vector(code.input, code.add(code.mul(code.input_image, each), place)) for each in images]
            for word, totals in zip(held, sums, strict=True):
                weight = _decoded(code, word, k)
                for value, total in zip(seen, totals, strict=True):
                    code.set(total, code.intrinsic("fma", value, weight, code.get(total)))
    return sums


def _decoded(code: KernelCode, words: Operand, k: int) -> Operand:
    """Returns the values of nibble ``k`` of each word."""
    b, lanes = code.b, code.lanes

    def number(value: int) -> Operand:
        return ir.Constant(words.type, [value] * lanes)

    if lanes == 16:  # AVX-512 looks up 16 values at once, by the lowest 4 bits
        name = "llvm.x86.avx512.permvar.sf.512"
        if name not in code.module.globals:
            ir.Function(code.module, ir.FunctionType(code.vector, [code.vector, words.type]), name)
        table = ir.Constant(code.vector, values().tolist())
        return b.call(code.module.globals[name], [table, b.lshr(words, number(4 * k))])
    top = b.shl(words, number(28 - 4 * k))
    exponent = b.and_(b.ashr(top, number(5)), number((1 << 31 | LEVELS << 23) - (1 << 32)))
    return b.fmul(b.bitcast(exponent, code.vector), code.splat(2.0 ** (127 - BIAS)))


def _finish(code: KernelCode, row: Operand, totals: dict[int, Operand], bias: bool, activation: str) -> None:
    factor = code.load(code.factors, row)
    given = code.load(code.bias, row) if bias else FLOAT(0.0)
    for image, total in totals.items():
        value = code.intrinsic("fma", _sum_of_lanes(code, code.get(total)), factor, given)
        if activation:
            value = code.b.extract_element(activated(code, code.splat(value), activation), INT(0))
        code.store(value, code.output, code.add(code.mul(code.output_image, image), row))


def _sum_of_lanes(code: KernelCode, vector: Operand) -> Operand:
    name = f"llvm.vector.reduce.fadd.v{code.lanes}f32"
    if name not in code.module.globals:
        ir.Function(code.module, ir.FunctionType(FLOAT, [FLOAT, code.vector]), name)
    return code.b.call(code.module.globals[name], [FLOAT(0.0), vector], fastmath=("reassoc",))
