"""Starts one process per device, forwards signals to them, and ends all of them when one fails."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, spawn

from demitasse.caffe.training import ranks
from demitasse.errors import RankError

# seconds in which the other ranks may notice that one has failed
_GRACE = 10

_PASSED_ON = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))
# Windows sends Ctrl-C to all processes of a console, and can neither block nor forward a signal
_IS_POSIX = hasattr(signal, "pthread_sigmask")


def run_ranks(arguments: list[str], size: int) -> None:
    """Runs a command in several processes of this machine, each with torchrun's variables in its environment.

    SIGINT and SIGHUP are forwarded to rank 0, and blocked in each process until it calls :func:`unblock_signals`.
    SIGTERM ends all processes.

    Args:
        arguments: the arguments of ``demitasse``.
        size: the number of processes.

    Raises:
        RankError: a process was killed.
        SystemExit: a process failed; it has printed the reason.
    """
    with tempfile.TemporaryDirectory(prefix="demitasse-") as folder, _held_back():
        context = spawn(_rank, (size, folder, arguments), size, join=False)  # type: ignore[no-untyped-call]
        with _passed_on_to(context):
            unblock_signals()
            _wait(context)


def _rank(rank: int, size: int, folder: str, arguments: list[str]) -> None:
    from demitasse.cli import main

    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    os.environ.update({name: str(number) for name, number in numbers.items()})
    os.environ[ranks.MEETING] = f"file://{folder}/meeting"
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(torch.get_num_threads() // size, 1))
    try:
        main(arguments)
    except SystemExit as stop:
        exit_rank(stop.code if isinstance(stop.code, int) else int(stop.code is not None))


def unblock_signals() -> None:
    """Unblocks the signals that are blocked in processes started by :func:`run_ranks`."""
    if _IS_POSIX:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)


def exit_rank(code: int = 0) -> None:
    """Ends a rank without torch's own clean-up, which sometimes aborts the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _held_back() -> Iterator[None]:
    """Starts processes with the signals blocked, so that none arrives before they can handle it."""
    if not _IS_POSIX:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _passed_on_to(context: ProcessContext) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        first = context.processes[0]
        if _IS_POSIX and first.is_alive():
            os.kill(first.pid, number)

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    handlers = {**dict.fromkeys(_PASSED_ON, pass_on), signal.SIGTERM: end}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for process in context.processes:
            process.terminate()
        for process in context.processes:
            process.join()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(context: ProcessContext) -> None:
    try:
        while not context.join(grace_period=_GRACE):
            pass
    except ProcessExitedException as error:
        codes = [process.exitcode for process in context.processes]
        killed = [(code == -signal.SIGABRT, rank, code) for rank, code in enumerate(codes) if code < 0]
        # one that is aborted may only have lost the connection to another, which is the reason then
        for aborted, rank, code in sorted(killed):
            if code != -signal.SIGTERM and not (aborted and max(codes) > 0):
                raise RankError(f"rank {rank} was killed by {signal.Signals(-code).name}") from error
        raise SystemExit(max(1, *codes)) from error
