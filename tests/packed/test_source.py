"""Bytes by place: of threads, forked processes and processes that open the file for themselves."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from demitasse.packed.file import File
from demitasse.packed.source import ByteSource
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack

FORK = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
COUNT, ROUNDS = 24, 4


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A file of tensors in payloads of their own: tensor i holds i + 1."""
    tensors = [of_array(str(i), np.arange(6000).astype(np.int16) % 97 + i) for i in range(COUNT)]
    (tmp_path / "net.demi").write_bytes(pack(tensors, smallest=False))
    return tmp_path / "net.demi"


def check(file: File, seed: int) -> int:
    """Reads all tensors in an order of its own; returns how many are what they should be."""
    order = np.random.default_rng(seed).permutation(COUNT)
    return sum(int(file.tensor(str(i)).array().reshape(-1)[0] == i) for i in order for _ in range(ROUNDS))


@FORK
def test_forked_workers_read_one_open_file(packed: Path) -> None:
    context = multiprocessing.get_context("fork")
    with File(packed, threads=1) as file:
        check(file, 0)  # the loops are compiled, and something is kept
        results = context.SimpleQueue()
        workers = [context.Process(target=lambda seed: results.put(check(file, seed)), args=(n,)) for n in range(4)]
        for worker in workers:
            worker.start()
        found = [results.get() for _ in workers]
        for worker in workers:
            worker.join()
    assert found == [COUNT * ROUNDS] * 4


@FORK
def test_reading_moves_nothing_that_forked_processes_share(packed: Path) -> None:
    source = ByteSource(packed)
    descriptor = source._file.fileno()
    os.lseek(descriptor, 7, os.SEEK_SET)
    assert source.read(100, 50) == packed.read_bytes()[100:150]
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 7
    source.close()


def test_threads_read_tensors_that_share_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demitasse.packed.writer.GROUP", 200)
    data = pack([of_array(str(i), np.full((8, 8), i, np.int16)) for i in range(COUNT)])
    with File(data) as file, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda seed: check(file, seed), range(4))) == [COUNT * ROUNDS] * 4


@pytest.mark.parametrize("positional", [True, False])
def test_bytes_by_place(packed: Path, positional: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not positional:
        monkeypatch.delattr("os.pread", raising=False)
    data = packed.read_bytes()
    for source in (ByteSource(packed), ByteSource(data)):
        assert source.size == len(data)
        assert source.read(5, 9) == data[5:14]
        assert source.read(len(data) - 3, 1 << 50) == data[-3:]
        assert source.read(len(data) + 5, 4) == b""
        source.close()


def test_another_process_opens_the_file_for_itself(packed: Path) -> None:
    with File(packed, threads=1) as file:
        again = pickle.loads(pickle.dumps(file))
    with again:
        assert check(again, 1) == COUNT * ROUNDS
