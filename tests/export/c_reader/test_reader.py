"""The reader in C: the values that Python reads, or an error; small, without a warning, and in WebAssembly, too."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from demitasse.export.c_reader import FOLDER
from demitasse.packed.tensor import DTYPES, Tensor
from demitasse.packed.writer import pack
from tests.export.c_reader.mutating import mutation, noise
from tests.export.c_reader.reading import agree, dumper, found_by_c, sources
from tests.export.c_source.compiling import WARNINGS, compiler
from tests.packed.test_golden import CASES, path
from tests.packed.test_reference import net


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dumper(tmp_path_factory.mktemp("reader"))


@pytest.mark.parametrize("name", CASES)
def test_the_files_that_settle_the_format(name, program):
    data = path(name).read_bytes()
    (found,) = found_by_c(program, [data])
    assert isinstance(found, bytes)
    assert agree(data, found)


def differing(program: Path, files: list[bytes]) -> list[bytes]:
    return [data for data, found in zip(files, found_by_c(program, files), strict=True) if not agree(data, found)]


def mutations(seed: int, count: int) -> list[bytes]:
    rng = random.Random(seed)
    return [noise(rng) if index % 4 == 0 else mutation(rng) for index in range(count)]


def test_damaged_files(program):
    files = mutations(0, 300)
    found = found_by_c(program, files)
    assert [data for data, each in zip(files, found, strict=True) if not agree(data, each)] == []
    assert sum(isinstance(each, bytes) for each in found) > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 101))
def test_100_000_damaged_files(seed, program):
    assert differing(program, mutations(seed, 1000)) == []
