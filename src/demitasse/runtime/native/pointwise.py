"""Kernels that compute each position from the same position of their inputs: sums, activations, norms, softmax."""

from __future__ import annotations

from llvmlite import ir

from demitasse.runtime.native.code import KernelCode
from demitasse.runtime.native.llvm import FLOAT, LONG, Machine
from demitasse.runtime.native.product import activated

COMBINE = "*left *right *output .factor .other vectors"


def combine(machine: Machine, operation: str) -> ir.Module:
    """Returns the kernel of ``factor * left + other * right``, of ``left * right``, or of their maximum."""
    code = KernelCode("kernel", machine, COMBINE)
    first, last = code.share(code.vectors)
    with code.loop(first, last) as index:
        at = code.mul(index, code.lanes)
        left, right = code.load_vector(code.left, at), code.load_vector(code.right, at)
        if operation == "SUM":
            scaled = code.b.fmul(left, code.splat(code.factor))
            value = code.intrinsic("fma", right, code.splat(code.other), scaled)
        elif operation == "PROD":
            value = code.b.fmul(left, right)
        else:
            value = code.larger(left, right)
        code.store_vector(value, code.output, at)
    return code.finish()


AFFINE = "*input *output *factor *summand .low .high planes channels plane"


def affine(machine: Machine, scaled: bool, activation: str) -> ir.Module:
    """Returns the kernel of an activation, of ``factor * x + summand`` by channel if that comes before it."""
    code = KernelCode("kernel", machine, AFFINE)
    first, last = code.share(code.planes)
    with code.loop(first, last) as plane:
        channel, start = code.rem(plane, code.channels), code.mul(plane, code.plane)
        with code.loop(0, code.plane, code.lanes) as place:
            at = code.add(start, place)
            value = code.load_vector(code.input, at)
            if scaled:
                factor, summand = (code.splat(code.load(each, channel)) for each in (code.factor, code.summand))
                value = code.intrinsic("fma", value, factor, summand)
            code.store_vector(activated(code, value, activation), code.output, at)
    return code.finish()


LRN = "*input *output .factor .start .power images channels plane reach"


def response(machine: Machine, usual: bool) -> ir.Module:
    """Returns the kernel of x / (start + factor * sum of squares of neighbouring channels)^power.

    Args:
        machine: what it is for.
        usual: whether the power is 0.75, which is two square roots.
    """
    code = KernelCode("kernel", machine, LRN)
    b = code.b
    blocks = code.div(code.plane, code.lanes)
    first, last = code.share(code.mul(code.images, blocks))
    with code.loop(first, last) as item:
        image, block = code.div(item, blocks), code.rem(item, blocks)
        start = code.add(code.mul(code.mul(image, code.channels), code.plane), code.mul(block, code.lanes))
        with code.loop(0, code.channels) as channel:
            least = b.sub(channel, code.reach)
            least = b.select(b.icmp_signed("<", least, LONG(0)), LONG(0), least)
            most = code.add(channel, code.reach, 1)
            most = b.select(b.icmp_signed(">", most, code.channels), code.channels, most)
            total = code.variable(code.splat(0.0))
            with code.loop(least, most) as near:
                seen = code.load_vector(code.input, code.add(start, code.mul(near, code.plane)))
                code.set(total, code.intrinsic("fma", seen, seen, code.get(total)))
            at = code.add(start, code.mul(channel, code.plane))
            scale = code.intrinsic("fma", code.get(total), code.splat(code.factor), code.splat(code.start))
            if usual:
                root = code.intrinsic("sqrt", scale)
                power = b.fmul(root, code.intrinsic("sqrt", root))
            else:
                power = code.intrinsic("pow", scale, code.splat(code.power))
            code.store_vector(b.fdiv(code.load_vector(code.input, at), power), code.output, at)
    return code.finish()


SOFTMAX = "*input *output images positions channels image plane"


def softmax(machine: Machine) -> ir.Module:
    """Returns the kernel of exp(x) / sum(exp(x)) over channels, for each position of each image."""
    code = KernelCode("kernel", machine, SOFTMAX)
    b = code.b
    first, last = code.share(code.mul(code.images, code.positions))
    with code.loop(first, last) as item:
        image, position = code.div(item, code.positions), code.rem(item, code.positions)
        start = code.add(code.mul(image, code.image), position)
        largest = code.variable(FLOAT(float("-inf")))
        with code.loop(0, code.channels) as channel:
            value = code.load(code.input, code.add(start, code.mul(channel, code.plane)))
            code.set(largest, code.larger(value, code.get(largest)))
        total = code.variable(FLOAT(0.0))
        with code.loop(0, code.channels) as channel:
            at = code.add(start, code.mul(channel, code.plane))
            value = code.intrinsic("exp", b.fsub(code.load(code.input, at), code.get(largest)))
            code.store(value, code.output, at)
            code.set(total, b.fadd(value, code.get(total)))
        with code.loop(0, code.channels) as channel:
            at = code.add(start, code.mul(channel, code.plane))
            code.store(b.fdiv(code.load(code.output, at), code.get(total)), code.output, at)
    return code.finish()
