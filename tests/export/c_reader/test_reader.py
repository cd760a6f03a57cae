"""The reader in C: the values that Python reads, or an error; small, without a warning, and in WebAssembly, too."""

from __future__ import annotations

import platform
import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import demitasse
from demitasse.export.c_reader import FOLDER
from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES, Tensor, of_array
from demitasse.packed.writer import pack
from tests.export.c_reader import primer
from tests.export.c_reader.mutating import mutation, noise
from tests.export.c_reader.reading import SANITIZERS, agree, dumper, found_by_c, sources
from tests.export.c_source.compiling import WARNINGS, compiler
from tests.hostile.test_demi import planes
from tests.packed.test_golden import CASES, path
from tests.packed.test_reference import net

HERE = Path(__file__).parent
PAGE = Path(__file__).parents[3] / "docs/microcontrollers.md"
MOST_BYTES = 12 << 10  # of object code
# compiler and flags; versions of gcc differ by a few percent, and only that of the board's compiler is known
SMALL = {
    "cortex-m0": ("arm-none-eabi-", ["-mcpu=cortex-m0", "-mthumb"], 1.0),
    "cortex-m4": ("arm-none-eabi-", ["-mcpu=cortex-m4", "-mthumb"], 1.0),
    "this machine": ("", ["-fno-asynchronous-unwind-tables"], 1.05),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dumper(tmp_path_factory.mktemp("reader"))


def expect_the_same(program: Path, *files: bytes, limit: int = 1 << 24) -> None:
    for data, found in zip(files, found_by_c(program, files, limit), strict=True):
        assert isinstance(found, bytes)
        assert agree(data, found, limit)


@pytest.mark.parametrize("name", CASES)
def test_the_files_that_settle_the_format(name, program):
    expect_the_same(program, path(name).read_bytes())


def test_a_net_with_other_names(program):
    expect_the_same(program, pack(net(), {"kind": "a net", "größe": "klein", "": ""}, aliases={"tied": "fc1.weight"}))


def test_every_type_and_shape(program):
    tensors, rng = [], np.random.default_rng(1)
    for kind in DTYPES:
        for shape in ((), (7,), (3, 4), (2, 2, 2, 2), (2, 0)):
            stored = kind.stored(shape)
            size, most = int(np.prod(stored)), 2 if kind.name == "bool" else 256
            bits = rng.integers(0, most, size * kind.size).astype(np.uint8).view(kind.bits)
            few = rng.integers(0, 2, size).astype(kind.bits)
            tensors += [Tensor(f"any {len(tensors)}", kind, stored, bits), Tensor(f"{len(tensors)}", kind, stored, few)]
    expect_the_same(program, pack(tensors, signed_zeros=True))


@pytest.mark.parametrize("shape", [(1025, 2, 256), (1, (1 << 19) + 3)], ids=["rows", "flat"])
def test_planes_and_parts(shape, program):
    values = np.zeros(shape, np.int8)
    values.reshape(-1)[:: (1 << 19) - 1] = 7
    expect_the_same(program, pack([*planes(), of_array("cut", values)], smallest=False))


def test_published_weights(shared, program):
    """LeNet-5 before and after surgery, and a ResNet-20."""
    names = ("caffe_lenet5_original.caffemodel", "caffe_lenet5_sparse.caffemodel", "resnet20_cifar10.th")
    for name in names:
        tensors = [of_array(key, value.numpy()) for key, value in demitasse.load(shared / "models" / name).items()]
        for smallest in (True, False):
            expect_the_same(program, pack(tensors, smallest=smallest))


def test_a_stream_that_no_encoder_writes(program):
    data = pack([of_array("x", np.arange(9, dtype=np.float32))])
    length = File(data).header.payloads[0].length
    assert found_by_c(program, [data[:-length] + b"\xff" * length]) == [5]


def test_errors_say_what_is_wrong(program):
    data = path("lenet").read_bytes()
    assert found_by_c(program, [b"", data[:3], b"demo" + data[4:]]) == [1, 1, 1]
    assert found_by_c(program, [data[:4] + b"\3" + data[5:], data[:4] + b"\x88\1" + data[5:]]) == [2, 2]
    shorter = [data[:length] for length in range(4, len(data), 7)]
    assert found_by_c(program, [*shorter, data + b"\0"]) == [3] * (len(shorter) + 1)
    assert found_by_c(program, [data[:9] + b"\0" + data[10:], data[:60] + b"\0" + data[61:]]) == [4, 4]
    assert found_by_c(program, [data[:-1] + bytes([data[-1] ^ 1])])[0] in (5, 6)
    assert found_by_c(program, [data], limit=1000) == [7]


def differing(program: Path, files: list[bytes]) -> list[bytes]:
    return [data for data, found in zip(files, found_by_c(program, files), strict=True) if not agree(data, found)]


def mutations(seed: int, count: int) -> list[bytes]:
    rng = random.Random(seed)
    return [noise(rng) if index % 4 == 0 else mutation(rng) for index in range(count)]


def test_damaged_files(program):
    files = mutations(0, 200)
    found = found_by_c(program, files)
    assert [data for data, each in zip(files, found, strict=True) if not agree(data, each)] == []
    assert sum(isinstance(each, bytes) for each in found) > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 101))
def test_100_000_damaged_files(seed, program):
    assert differing(program, mutations(seed, 1000)) == []


@pytest.fixture(scope="module")
def in_small_arenas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("arena") / "arena"
    command = [compiler("gcc"), "-std=c99", *WARNINGS, *SANITIZERS, f"-I{FOLDER}", *sources(), HERE / "arena_main.c"]
    subprocess.run([*command, "-o", built], check=True)
    return built


@pytest.mark.parametrize("name", ["empty", "lenet", "planes", "rows", "zeros_apart"])
def test_an_arena_of_the_size_that_is_asked_for(name, in_small_arenas):
    done = subprocess.run([in_small_arenas], input=path(name).read_bytes(), capture_output=True, check=True)
    status, size, tries = map(int, done.stdout.split())
    assert status == 0
    assert tries < 20
    assert size < 1200 << 10  # DEMI_ARENA_BYTES


@pytest.mark.parametrize("by", ["gcc", "clang"])
def test_there_is_no_warning(by, tmp_path):
    for source in sources():
        subprocess.run([compiler(by), "-std=c99", *WARNINGS, "-Os", "-c", source, "-o", tmp_path / "x.o"], check=True)


def test_as_cpp(tmp_path):
    for source in sources():
        command = [compiler("g++"), "-x", "c++", "-std=c++11", *WARNINGS, "-c", source, "-o", tmp_path / "x.o"]
        subprocess.run(command, check=True)


@pytest.mark.parametrize("chip", SMALL)
def test_it_is_small_and_needs_no_library(chip, tmp_path):
    tools, flags, slack = SMALL[chip]
    if chip == "this machine" and platform.machine() != "x86_64":
        pytest.skip(f"the size is that of x86-64, and this machine is {platform.machine()}")
    total, missing, made = 0, set(), set()
    for source in sources():
        built = tmp_path / f"{source.stem}.o"
        subprocess.run([compiler(f"{tools}gcc"), *flags, "-std=c99", "-Os", "-c", source, "-o", built], check=True)
        said = subprocess.run([f"{tools}size", built], capture_output=True, text=True, check=True).stdout
        total += sum(map(int, said.splitlines()[1].split()[:3]))
        names = subprocess.run([f"{tools}nm", built], capture_output=True, text=True, check=True).stdout
        missing |= set(re.findall(r" U (\w+)", names))
        made |= set(re.findall(r" [TR] (\w+)", names))
    print(f"{total} bytes")
    assert total <= slack * MOST_BYTES
    own = {name for name in missing - made if not name.startswith("__aeabi")}
    assert own <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    assert all(name.startswith("demi_") for name in made)


def test_the_primer_is_that_of_the_format():
    assert (FOLDER / "primer.c").read_text() == primer.source()


def webassembly(folder: Path) -> Path:
    """Returns the reader in WebAssembly."""
    built = folder / "reader.wasm"
    clang, _ = compiler("clang"), compiler("node")
    try:
        flags = ["--target=wasm32", "-nostdlib", "-Os", "-std=c99", "-Wl,--no-entry", f"-I{FOLDER}"]
        done = subprocess.run(
            [clang, *flags, *sources(), HERE / "wasm_main.c", "-o", built], capture_output=True, text=True
        )
    except OSError as error:
        pytest.skip(f"clang does not start: {error}")
    if "unable to execute command" in done.stderr or "wasm-ld" in done.stderr:
        pytest.skip("wasm-ld is not installed (Debian's package lld)")
    assert done.returncode == 0, done.stderr
    return built


@pytest.mark.parametrize("name", ["lenet", "planes", "rows", "types"])
def test_webassembly_in_node(name, tmp_path):
    command = [compiler("node"), HERE / "wasm_run.js", webassembly(tmp_path), path(name)]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    with File(path(name)) as file:
        assert found == b"".join(tensor.bits.tobytes() for tensor in file.tensors())


def test_the_example_of_the_page(tmp_path):
    (code,) = re.findall(r"```c\n(#include <stdio.h>\n.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "show.c").write_text(code)
    command = [compiler("gcc"), "-std=c99", *WARNINGS, f"-I{FOLDER}", *sources(), tmp_path / "show.c"]
    subprocess.run([*command, "-o", tmp_path / "show"], check=True)
    done = subprocess.run([tmp_path / "show", path("lenet")], capture_output=True, text=True, check=True)
    with File(path("lenet")) as file:
        expected = [
            f"{one.name}: {one.size} values, {np.count_nonzero(one.bits)} not zero, the first {one.array().flat[0]:g}"
            for one in file.tensors()
        ]
    assert done.stdout.splitlines() == expected
