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
from demitasse.runtime.native.program import Program

Clock = Callable[[], float]

# sums at once, so that none waits for another; rounds of them; and float32 values that no cache holds
_SUMS, _ROUNDS, _SIZE = 12, 4_000_000, 1 << 26


class Peak(NamedTuple):
    """Of all threads together: multiply-adds a second, of values in registers; bytes a second, read from memory."""

    multiply_adds: float
    bytes: float

    def least(self, multiply_adds: float, nbytes: float) -> tuple[float, float]:
        """Returns the milliseconds that multiply-adds take at least, and that bytes take if no cache holds them."""
        return 1000 * multiply_adds / self.multiply_adds, 1000 * nbytes / self.bytes

    def __str__(self) -> str:
        return f"{self.multiply_adds / 1e9:.1f} G multiply-adds/s, {self.bytes / 1e9:.1f} GB/s read"


def multiply_adds(machine: Machine) -> ir.Module:
    """Returns the kernel that multiplies and adds in registers alone, the same number of times on each thread."""
    code = KernelCode("kernel", machine, "*output .factor rounds")
    factor = code.splat(code.factor)
    sums = [code.variable(code.splat(float(number))) for number in range(_SUMS)]
    with code.loop(0, code.rounds):
        for total in sums:
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
    computed = Program(machine, threads)
    computed.add(address(machine, multiply_adds), output, 0.5, _ROUNDS)
    memory = np.ones(_SIZE, np.float32)
    streamed = Program(machine, threads)
    streamed.add(address(machine, read), memory, output, _SIZE // width)
    count = _ROUNDS * width * threads
    return Peak(count / _least_seconds(computed, clock), memory.nbytes / _least_seconds(streamed, clock))


def _least_seconds(program: Program, clock: Clock) -> float:
    program.finish()
    found = []
    for _ in range(7):
        start = clock()
        program.run()
        found.append(clock() - start)
    return min(found[1:])
