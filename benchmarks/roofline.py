"""What the machine can do at most: multiply-adds and bytes a second, measured with kernels of our own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from llvmlite import ir

from demitasse.runtime.native.code import KernelCode
from demitasse.runtime.native.kernels import address
from demitasse.runtime.native.llvm import Machine, host
from demitasse.runtime.native.memory import aligned
from demitasse.runtime.native.program import Argument, Program

Clock = Callable[[], float]

# sums at once, so that none waits for another; rounds of them; float32 values that no cache holds, and vectors for each
# sum that the first cache holds
_SUMS, _ROUNDS, _SIZE, _NEAR = 12, 4_000_000, 1 << 26, 16


class Peak(NamedTuple):
    """What all threads together can do in a second.

    Attributes:
        multiply_adds: of values in registers.
        loaded: multiply-adds that each take a value from the first cache, as those of a sparse row do.
        bytes: read from memory.
    """

    multiply_adds: float
    loaded: float
    bytes: float

    def least(self, multiply_adds: float, nbytes: float) -> list[float]:
        """Returns the least milliseconds of multiply-adds, in registers and from the first cache, and of bytes."""
        return [
            1000 * multiply_adds / self.multiply_adds,
            1000 * multiply_adds / self.loaded,
            1000 * nbytes / self.bytes,
        ]

    def __str__(self) -> str:
        return (
            f"{self.multiply_adds / 1e9:.1f} G multiply-adds/s in registers, {self.loaded / 1e9:.1f} G/s from the "
            f"first cache, {self.bytes / 1e9:.1f} GB/s read from memory"
        )


def multiply_adds(machine: Machine, loaded: bool) -> ir.Module:
    """Returns the kernel that multiplies and adds, the same number of times on each thread.

    Args:
        machine: what it is for.
        loaded: whether one factor is loaded each time; otherwise all values are in registers.
    """
    code = KernelCode("kernel", machine, "*input *output .factor rounds")
    factor = code.splat(code.factor)
    sums = [code.variable(code.splat(float(number))) for number in range(_SUMS)]
    with code.loop(0, code.rounds) as number:
        start = code.mul(code.rem(number, _NEAR), _SUMS * machine.lanes)
        for index, total in enumerate(sums):
            if loaded:
                seen = code.load_vector(code.input, code.add(start, index * machine.lanes))
                code.set(total, code.intrinsic("fma", seen, factor, code.get(total)))
            else:
                code.set(total, code.intrinsic("fma", code.get(total), factor, factor))
    for number, total in enumerate(sums):
        at = code.mul(code.add(code.mul(code.thread, _SUMS), number), machine.lanes)
        code.store_vector(code.get(total), code.output, at)
    return code.finish()


def read(machine: Machine) -> ir.Module:
    """Returns the kernel that reads an array, of which each thread has a share."""
    code = KernelCode("kernel", machine, "*input *output blocks")
    first, last = code.share(code.blocks)
    sums = [code.variable(code.splat(0.0)) for _ in range(_SUMS)]
    with code.loop(first, last) as block:
        for number, total in enumerate(sums):
            at = code.mul(code.add(code.mul(block, _SUMS), number), machine.lanes)
            code.set(total, code.b.fadd(code.get(total), code.load_vector(code.input, at)))
    for number, total in enumerate(sums):
        at = code.mul(code.add(code.mul(code.thread, _SUMS), number), machine.lanes)
        code.store_vector(code.get(total), code.output, at)
    return code.finish()


def peak(threads: int, clock: Clock = time.perf_counter) -> Peak:
    """Returns the most that a number of threads can do: the best of several runs."""
    machine = host()
    width = _SUMS * machine.lanes
    output = aligned(threads * width)
    memory, near = np.ones(_SIZE, np.float32), aligned(_NEAR * width)
    computed, loaded = (
        _least_seconds(machine, threads, clock, multiply_adds, (each,), near, output, 0.5, _ROUNDS)
        for each in (False, True)
    )
    streamed = _least_seconds(machine, threads, clock, read, (), memory, output, _SIZE // width)
    count = _ROUNDS * width * threads
    return Peak(count / computed, count / loaded, memory.nbytes / streamed)


def _least_seconds(
    machine: Machine, threads: int, clock: Clock, build: Callable[..., ir.Module], options: tuple[bool, ...],
    *arguments: Argument,
) -> float:  # fmt: skip
    program = Program(machine, threads)
    program.add(address(machine, build, *options), *arguments)
    program.finish()
    found = []
    for _ in range(7):
        start = clock()
        program.run()
        found.append(clock() - start)
    return min(found[1:])
