"""The standard streams: where nobody takes what is printed, the work is done all the same."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from typing_extensions import override


class _Quiet(io.FileIO):
    """A stream that drops what its reader no longer takes, and remembers other failures."""

    failure: OSError | None = None

    @override
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            pass  # the reader has what it wanted: `| head`
        except OSError as error:
            self.failure = error
        return memoryview(data).nbytes


def protect() -> None:
    """Makes printing safe: to streams that are closed, whose reader has gone, or that lack a character.

    A closed stream is opened on the null device, so that no file gets its number, and with it what is printed.
    """
    _open_closed_ones()
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.stdout, sys.stderr = _shielded(sys.stdout), _shielded(sys.stderr)


def stdout_failure() -> OSError | None:
    """Returns why what was printed on stdout did not arrive; None where it did, or nobody waited for it."""
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    return raw.failure if isinstance(raw, _Quiet) else None


def _open_closed_ones() -> None:
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _raw(stream: Any) -> Any:
    """Returns what writes the bytes of a stream; with PYTHONUNBUFFERED it has no other buffer."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _shielded(stream: Any) -> Any:
    raw = _raw(stream)
    if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return stream  # a test's, a notebook's, or the console of Windows
    stream.flush()
    quiet = _Quiet(raw.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        quiet if stream.buffer is raw else io.BufferedWriter(quiet),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
