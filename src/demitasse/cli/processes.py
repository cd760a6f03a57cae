"""One process a device: starts them, passes signals on, and ends all when one has failed."""

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

# how long the other ranks may take to notice that one has failed, in seconds
_GRACE = 10

_PASSED_ON = tuple(getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name))
# Windows: it gives Ctrl-C to all processes of a console, and a signal cannot be held back or passed on
_IS_POSIX = hasattr(signal, "pthread_sigmask")


def run_ranks(arguments: list[str], size: int) -> None:
    """Runs a command in so many processes of this machine, each with its place in the environment.

    SIGINT and SIGHUP go on to rank 0; each process holds them back until :func:`unblock_signals` is called there. SIGTERM ends
    all.

    Args:
        arguments: of ``demitasse``.
        size: the number of processes.

    Raises:
        RankError: a process was killed.
        SystemExit: a process has failed, and has said why.
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
    main(arguments)


def unblock_signals() -> None:
    """Lets signals through that are held back, as they are in processes that :func:`run_ranks` has started."""
    if _IS_POSIX:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)


def exit_rank() -> None:
    """Ends a rank that has done its work, without torch's own end: that aborts the process now and then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def _held_back() -> Iterator[None]:
    """Lets processes start that do not notice a signal before they can deal with it."""
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
        for rank, code in enumerate(codes):
            if code < 0 and code != -signal.SIGTERM:
                raise RankError(f"rank {rank} was ended by {signal.Signals(-code).name}") from error
        raise SystemExit(max(1, *codes)) from error
