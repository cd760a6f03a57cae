"""Compiles the reader in C, and says what it and Python find in files."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from demitasse.errors import FileFormatError
from demitasse.export.c_reader import FOLDER
from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES
from tests.export.c_source.compiling import WARNINGS, compiler

# optimized, since what is read takes long
SANITIZERS = ["-O2", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
MAIN = Path(__file__).parent / "dump_main.c"
# bytes of tensors that are read of damaged files; with more they are refused
LIMIT = 1 << 19
REFUSED = 7  # DEMI_LIMIT


def sources() -> list[Path]:
    return sorted(FOLDER.glob("*.c"))


def dumper(folder: Path, by: str = "gcc", flags: Sequence[str] = SANITIZERS) -> Path:
    """Returns the program that says what the reader finds in files."""
    program = folder / f"dump_{by}"
    command = [compiler(by), "-std=c99", *WARNINGS, *flags, f"-I{FOLDER}", *sources(), MAIN, "-o", program]
    subprocess.run(command, check=True)
    return program


def found_by_c(program: Path, files: Sequence[bytes], limit: int = LIMIT) -> list[bytes | int]:
    """Returns for each file what the program says of its tensors, or the error."""
    given = b"".join(len(data).to_bytes(4, "little") + data for data in files)
    done = subprocess.run([program, str(limit)], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    reading, found = _Numbers(done.stdout), list[bytes | int]()
    for _ in files:
        start = reading.place
        if status := reading.number():
            found.append(status)
            continue
        for _ in range(reading.number()):
            reading.skip(reading.number())
            reading.number()
            for _ in range(reading.number()):
                reading.number()
            reading.skip(reading.number())
        found.append(done.stdout[start : reading.place])
    assert reading.place == len(done.stdout)
    return found


def found_by_python(data: bytes, limit: int = LIMIT) -> bytes | FileFormatError | None:
    """Returns the same by Python; None if the program refuses it for its size."""
    try:
        with File(data, threads=1) as file:
            if file.header.nbytes > limit:
                return None
            tensors = {tensor.name: tensor for tensor in file.tensors()}
            names = [*(entry.name for entry in file.header.entries), *file.header.aliases]
    except FileFormatError as error:
        return error
    told = [_number(0, len(names))]
    for name in names:
        tensor = tensors[name]
        values = tensor.bits.astype(tensor.bits.dtype.newbyteorder("<")).tobytes()
        told += [_number(len(name.encode())), name.encode(), _number(DTYPES.index(tensor.dtype))]
        told += [_number(len(tensor.shape), *tensor.shape, len(values)), values]
    return b"".join(told)


def agree(data: bytes, by_c: bytes | int, limit: int = LIMIT) -> bool:
    """Tells whether C found what Python finds, or both refuse the file."""
    expected = found_by_python(data, limit)
    if expected is None:
        return by_c == REFUSED
    return isinstance(by_c, int) if isinstance(expected, FileFormatError) else by_c == expected


def _number(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


class _Numbers:
    """Numbers of eight bytes, read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def number(self) -> int:
        self.place += 8
        return int.from_bytes(self.data[self.place - 8 : self.place], "little")

    def skip(self, count: int) -> None:
        self.place += count
