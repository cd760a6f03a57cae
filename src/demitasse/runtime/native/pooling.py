"""Pooling over phases."""

from __future__ import annotations

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode
from demitasse.runtime.native.llvm import INT, Machine

POOL = "*offsets *input *output *share_of count planes blocks input_plane output_plane"


def pool(machine: Machine, vectors: int, maximum: bool) -> ir.Module:
    """Returns the kernel that pools windows over phases: their maxima, or their sums times a share by position."""
    code = KernelCode("kernel", machine, POOL)
    first, last = code.share(code.mul(code.planes, code.blocks))
    with code.loop(first, last) as item:
        block, plane = code.rem(item, code.blocks), code.div(item, code.blocks)
        place = code.mul(block, vectors * machine.lanes)
        source = code.at(code.input, code.add(code.mul(plane, code.input_plane), place))
        found = [code.variable(code.splat(float("-inf") if maximum else 0.0)) for _ in range(vectors)]
        with code.loop(0, code.count) as index:
            offset = code.load(code.offsets, index, INT)
            for number, held in enumerate(found):
                seen, known = code.load_vector(source, code.add(offset, number * code.lanes)), code.get(held)
                if maximum:
                    code.set(held, code.larger(seen, known))
                else:
                    code.set(held, code.b.fadd(seen, known))
        for number, held in enumerate(found):
            at, value = code.add(place, number * code.lanes), code.get(held)
            if not maximum:
                value = code.b.fmul(value, code.load_vector(code.share_of, at))
            code.store_vector(value, code.output, code.add(code.mul(plane, code.output_plane), at))
    return code.finish()
