"""A program: calls of kernels with their arguments, run by one or more threads."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from demitasse.runtime.native.code import KernelCode
from demitasse.runtime.native.kernels import address
from demitasse.runtime.native.llvm import INT, LONG, POINTER, VOID, Machine
from demitasse.runtime.native.team import TEAM, Task

# times that a thread looks whether the others are done before it lets others run
_PATIENCE = 2000

# more than all threads together ever count
_EVERYBODY = 1 << 62

Argument = int | float | npt.NDArray[np.generic]


def _driver(machine: Machine) -> ir.Module:
    """Returns the function that calls the kernels; after each, threads wait for each other."""
    code = KernelCode("kernel", machine, "*calls *counter count")
    b = code.b
    step_kind = ir.FunctionType(VOID, [POINTER, LONG, LONG])
    sched_yield = ir.Function(code.module, ir.FunctionType(INT, []), "sched_yield")
    with code.loop(0, code.count) as index:
        call = code.mul(index, 2)
        function = b.load(code.at(code.calls, call, LONG), typ=step_kind.as_pointer())
        arguments = b.load(code.at(code.calls, code.add(call, 1), LONG), typ=POINTER)
        b.call(function, [arguments, code.thread, code.threads])
        wanted = code.mul(code.add(index, 1), code.threads)
        b.atomic_rmw("add", code.counter, LONG(1), "acq_rel")
        looks = code.variable(LONG(0))
        head, body, tired, after = (code.function.append_basic_block() for _ in range(4))
        b.branch(head)
        b.position_at_end(head)
        done = b.load_atomic(code.counter, "acquire", 8, typ=LONG)
        b.cbranch(b.icmp_signed("<", done, wanted), body, after)
        b.position_at_end(body)
        code.set(looks, code.add(code.get(looks), 1))
        b.cbranch(b.icmp_signed(">", code.get(looks), LONG(_PATIENCE)), tired, head)
        b.position_at_end(tired)
        b.call(sched_yield, [])
        b.branch(head)
        b.position_at_end(after)
    return code.finish()


class Program:
    """Calls of kernels in order.

    Args:
        machine: what its kernels are for.
        threads: that run it.

    Attributes:
        kept: what the arguments point to.
    """

    def __init__(self, machine: Machine, threads: int) -> None:
        self.machine = machine
        self.threads = threads
        self.kept: list[npt.NDArray[np.generic]] = []
        self._calls: list[int] = []
        self._counter = np.zeros(1, np.int64)

    def add(self, kernel: int, *arguments: Argument) -> None:
        """Adds the call of a kernel, given by its address; arrays stand for the addresses of their values."""
        block = np.array([self._word(argument) for argument in arguments], np.int64)
        self.kept.append(block)
        self._calls += [kernel, block.ctypes.data]

    def _word(self, argument: Argument) -> int:
        if isinstance(argument, np.ndarray):
            self.kept.append(argument)
            return argument.ctypes.data
        if isinstance(argument, float):
            word: int = struct.unpack("<q", struct.pack("<fI", argument, 0))[0]
            return word
        return int(argument)

    def finish(self) -> None:
        """Makes the program ready to run."""
        calls = np.array(self._calls, np.int64)
        block = np.array([calls.ctypes.data, self._counter.ctypes.data, len(calls) // 2], np.int64)
        self.kept += [calls, block]
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self._run: Callable[[int, int, int], None] = function(address(self.machine, _driver))
        self._block = block.ctypes.data

    def run(self) -> None:
        """Runs the calls on all threads. Only one run goes on at a time."""
        self._counter[0] = 0
        if self.threads == 1:
            self._run(self._block, 0, 1)
        else:
            TEAM.run(Task(partial(self._run, self._block), self._abandon, self.threads))

    def _abandon(self) -> None:
        self._counter[0] = _EVERYBODY
