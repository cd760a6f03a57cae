"""Boards in simulators: compiles a net in C for one, runs inputs on it, and says what it took."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from demitasse.export import CReport

FOLDER = Path(__file__).parent
# inputs that fit into the flash of an ATmega328P beside the net
_AT_ONCE = 16
_BYTES = {"uint8_t": 1, "int8_t": 1, "int16_t": 2}
_LINE = re.compile(r"[-\d# ]+")


class BoardRun(NamedTuple):
    """What a board did.

    Attributes:
        outputs: a row of integers for each input.
        flash: bytes of code and tables of the net alone.
        ram: bytes of RAM of the net with its input and output, without its stack.
        stack: bytes of stack, the board's main function included.
        free: bytes of RAM that were never written.
        cycles: of the last input; on all but ATmega328P the instructions.
    """

    outputs: npt.NDArray[np.int64]
    flash: int
    ram: int
    stack: int
    free: int
    cycles: int


class Board(NamedTuple):
    """A board.

    Attributes:
        programs: Debian's package -> a program of it that is needed.
        prefix: of the compiler's programs.
        flags: of the compiler.
        main: the file of the main function, and others.
        simulator: the command that runs a program, without the name of the program.
        ram: bytes of RAM that there are.
    """

    programs: Mapping[str, str]
    prefix: str
    flags: tuple[str, ...]
    main: tuple[str, ...]
    simulator: tuple[str, ...]
    ram: int

    def missing(self) -> list[str]:
        """Returns Debian's packages that are not installed."""
        return [package for package, program in self.programs.items() if shutil.which(program) is None]

    def holds(self, report: CReport) -> bool:
        """Tells whether arena, input and output of a net fit into the RAM."""
        assert report.twin is not None
        net, formats = report.twin.net.net, report.twin.net.formats
        both = [*net.inputs.values(), *net.outputs.values()]
        return report.written.layout.size + sum(net.tensors[n].size * _BYTES[formats[n].ctype] for n in both) < self.ram

    def run(self, report: CReport, inputs: Mapping[str, npt.NDArray[np.float64]], folder: Path) -> BoardRun:
        """Returns what the board does with inputs by name, as floats."""
        assert report.twin is not None
        given = report.twin.quantized(inputs)
        net, formats = report.twin.net.net, report.twin.net.formats
        (blob, number), (_, output) = *net.inputs.items(), *net.outputs.items()
        ctype = formats[number].ctype.removesuffix("_t")
        rows = np.ascontiguousarray(given[blob].reshape(len(given[blob]), -1).astype(ctype))
        name, source = report.written.name, report.files[0]
        outputs, free, cycles = [], self.ram, 0
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE].view(np.uint8)
            fields = re.findall(rf"(\w+)\[{net.tensors[output].size}\];", source.with_suffix(".h").read_text())
            (folder / "inputs.h").write_text(_inputs(part, name, source.stem, fields[-1], net.tensors[output].size))
            lines = self._run(source, folder)
            outputs += [list(map(int, line.split())) for line in lines if not line.startswith("#")]
            cycles, stack, left = map(int, next(line for line in lines if line.startswith("#")).split()[1:])
            free = min(free, left)
        flash, used = self._size(source, folder)
        used += rows.shape[1] * rows.itemsize + len(outputs[0]) * _BYTES[formats[output].ctype]
        return BoardRun(np.array(outputs), flash, used, stack, free, cycles)

    def _run(self, source: Path, folder: Path) -> list[str]:
        program = folder / "board.elf"
        files = [FOLDER / each for each in self.main]
        command = [f"{self.prefix}gcc", *self.flags, "-Os", "-std=gnu99", f"-I{folder}", f"-I{source.parent}", source]
        subprocess.run([*command, *files, "-o", program], check=True)
        done = subprocess.run([*self.simulator, program], capture_output=True, timeout=600)
        text = (done.stdout + done.stderr).decode(errors="replace")
        found = [re.sub(r"\x1b\[\d*m|\.\.?$", "", line).strip() for line in text.splitlines()]
        return [line for line in found if line and _LINE.fullmatch(line)]

    def _size(self, source: Path, folder: Path) -> tuple[int, int]:
        """Returns the bytes of flash and of RAM of the net's object."""
        built = folder / "net.o"
        flags = [flag for flag in self.flags if flag.startswith(("-m", "-f"))]
        subprocess.run([f"{self.prefix}gcc", *flags, "-Os", "-std=c99", "-c", source, "-o", built], check=True)
        done = subprocess.run([f"{self.prefix}size", built], capture_output=True, text=True, check=True)
        text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
        return text + data, data + bss


def _inputs(rows: npt.NDArray[np.uint8], name: str, stem: str, field: str, outputs: int) -> str:
    body = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in rows)
    return f"""#include "{stem}.h"
#ifndef __AVR__
#define PROGMEM
#endif
#define RUN {name}_run
#define INPUT_TYPE {name}_input_t
#define OUTPUT_TYPE {name}_output_t
#define OUTPUT_FIELD {field}
#define OUTPUTS {outputs}
#define COUNT {len(rows)}
#define SIZE {rows.shape[1]}
static const uint8_t inputs[COUNT][SIZE] PROGMEM = {{
{body}
}};
"""


ATMEGA328P = Board(
    {"gcc-avr": "avr-gcc", "simavr": "simavr"},
    "avr-",
    ("-mmcu=atmega328p",),
    ("avr_main.c",),
    ("simavr", "-m", "atmega328p", "-f", "16000000"),
    2048,
)


def _cortex(core: str, machine: str, ram: int) -> Board:
    return Board(
        {"gcc-arm-none-eabi": "arm-none-eabi-gcc", "qemu-system-arm": "qemu-system-arm"},
        "arm-none-eabi-",
        (f"-mcpu={core}", "-mthumb", "-nostartfiles", f"-T{FOLDER / 'cortex.ld'}"),
        ("cortex_main.c",),
        ("qemu-system-arm", "-M", machine, "-nographic", "-semihosting", "-icount", "shift=0", "-kernel"),
        ram,
    )


CORTEX_M0 = _cortex("cortex-m0", "microbit", 16384)
CORTEX_M4 = _cortex("cortex-m4", "mps2-an386", 16384)
RV32EC = Board(
    {"gcc-riscv64-unknown-elf": "riscv64-unknown-elf-gcc", "qemu-system-misc": "qemu-system-riscv32"},
    "riscv64-unknown-elf-",
    (
        "-march=rv32ec_zicsr", "-mabi=ilp32e", "-ffreestanding", "-nostdlib", "-Wl,--no-warn-rwx-segments",
        f"-T{FOLDER / 'rv32.ld'}",
    ),
    ("rv32_main.c",),
    ("qemu-system-riscv32", "-M", "virt", "-nographic", "-bios", "none", "-icount", "shift=0", "-kernel"),
    2048,
)  # fmt: skip
BOARDS = {"ATmega328P": ATMEGA328P, "Cortex-M0": CORTEX_M0, "Cortex-M4": CORTEX_M4, "RV32EC": RV32EC}
