"""Programs for another processor, run in an emulator: with the same arguments, memory and threads as here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import count
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from typing_extensions import override

from demitasse.runtime.native import program
from demitasse.runtime.native.llvm import Machine, object_file
from demitasse.runtime.native.program import Argument, Program

_ALIGNMENT = 64
Array = npt.NDArray[np.generic]


class Tools(NamedTuple):
    """The commands that compile, and that run what was compiled."""

    compiler: str
    emulator: str


class Kernels:
    """Kernels that were compiled for another processor, by number.

    Args:
        tools: link and run them.
        folder: their files.
    """

    def __init__(self, tools: Tools, folder: Path) -> None:
        self._tools, self._folder = tools, folder
        self._numbers: dict[tuple[Hashable, ...], int] = {}
        self._programs = count()
        self._lock = Lock()
        self.main = folder / "replay.o"
        self._run(
            tools.compiler, "-O2", "-Wall", "-Werror", "-c", Path(__file__).with_name("replay.c"), "-o", self.main
        )

    def address(self, machine: Machine, build: Callable[..., ir.Module], *options: Hashable) -> int:
        """Returns the number of a kernel, in place of its address."""
        key = machine, build, options
        if key not in self._numbers:
            self._numbers[key] = number = len(self._numbers)
            text = str(build(machine, *options)).replace('@"kernel"', f'@"kernel{number}"')
            (self._folder / f"kernel{number}.o").write_bytes(object_file(text, machine))
        return self._numbers[key]

    def run(self, used: Sequence[int], file: Path) -> None:
        """Runs a program, in its file, with the kernels that it uses."""
        with self._lock:
            executable = self._linked(used)
        self._run(self._tools.emulator, executable, file)

    def _linked(self, used: Sequence[int]) -> Path:
        executable = self._folder / "_".join(["replay", *map(str, used)])
        if not executable.exists():
            source = self._folder / "kernels.c"
            lines = ["typedef void (*kernel)(long *, long, long);"]
            lines += [f"void kernel{number}(long *, long, long);" for number in used]
            entries = ", ".join(f"[{number}] = kernel{number}" for number in used)
            source.write_text("\n".join([*lines, f"const kernel kernels[] = {{{entries}}};\n"]), encoding="utf-8")
            objects = [self._folder / f"kernel{number}.o" for number in used]
            self._run(self._tools.compiler, "-static", source, self.main, *objects, "-lm", "-pthread", "-o", executable)
        return executable

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def programs(self) -> Callable[[Machine, int], Replay]:
        """Returns what stands for :class:`Program`."""
        return lambda machine, threads: Replay(machine, threads, self, self._folder / f"program{next(self._programs)}")


class Replay(Program):
    """A program whose kernels are those of another processor."""

    def __init__(self, machine: Machine, threads: int, kernels: Kernels, file: Path) -> None:
        super().__init__(machine, threads)
        self._kernels, self._file = kernels, file
        self._pointers: list[tuple[Array, int]] = []  # array, and the number of a word in it
        self._functions: list[tuple[Array, int]] = []

    @override
    def add(self, kernel: int, *arguments: Argument) -> None:
        super().add(kernel, *arguments)
        block = self.kept[-1]
        self._pointers += [(block, i) for i, argument in enumerate(arguments) if isinstance(argument, np.ndarray)]

    @override
    def finish(self) -> None:
        super().finish()
        calls, block = self.kept[-2:]
        self.kept.append(self._counter)
        self._functions = [(calls, i) for i in range(0, len(calls), 2)]
        self._pointers += [(calls, i) for i in range(1, len(calls), 2)] + [(block, 0), (block, 1)]

    @override
    def run(self) -> None:
        self._counter[0] = 0
        memory = Memory(self.kept)
        for array, number in self._pointers:
            memory.relocate(array, number)
        driver = self._kernels.address(self.machine, program._driver)
        places = [memory.place(array) + 8 * number for array, number in (*self._pointers, *self._functions)]
        arguments = memory.place(self.kept[-2])
        counts = [len(memory.image), len(self._pointers), len(self._functions), driver, arguments, self.threads]
        head = np.array(counts + places, np.int64).tobytes()
        self._file.write_bytes(head + memory.image.tobytes())
        used = {int(array[number]) for array, number in self._functions}
        self._kernels.run(sorted({driver, *used}), self._file)
        memory.read(self._file.read_bytes()[len(head) :])
        self._file.unlink()


class Memory:
    """A copy of arrays, one after the other.

    Args:
        arrays: views of the same memory are copied once.

    Attributes:
        image: the bytes.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._roots: list[Array] = []
        self._places: list[int] = []
        size = 0
        for root in {each.ctypes.data: each for each in map(_root, arrays)}.values():
            self._roots.append(root)
            self._places.append(size)
            size += -(-max(root.nbytes, 1) // _ALIGNMENT) * _ALIGNMENT
        self.image = np.zeros(size, np.uint8)
        for root, part in self._parts(self.image):
            part[...] = _bytes(root)

    def _parts(self, image: npt.NDArray[np.uint8]) -> Iterator[tuple[Array, npt.NDArray[np.uint8]]]:
        for root, place in zip(self._roots, self._places, strict=True):
            yield root, image[place : place + root.nbytes]

    def place(self, array: Array) -> int:
        """Returns where an array is."""
        return self._place(array.ctypes.data)

    def _place(self, address: int) -> int:
        for root, place in zip(self._roots, self._places, strict=True):
            if 0 <= address - root.ctypes.data < max(root.nbytes, 1):
                return place + address - root.ctypes.data
        raise AssertionError("a pointer to memory that the program does not keep")

    def relocate(self, array: Array, number: int) -> None:
        """Makes a word of an array, which is an address here, a place in the copy."""
        start = self.place(array) + 8 * number
        self.image[start : start + 8].view(np.int64)[0] = self._place(int(array[number]))

    def read(self, data: bytes) -> None:
        """Copies the values back."""
        for root, part in self._parts(np.frombuffer(data, np.uint8)):
            if root.dtype == np.float32 and root.flags.writeable:  # all others are arguments
                _bytes(root)[...] = part


def _root(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _bytes(array: Array) -> npt.NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)
