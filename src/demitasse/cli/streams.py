"""The standard streams: a command does its work even if nothing reads its output."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from typing_extensions import Buffer, override


class _Quiet(io.FileIO):
    """A stream that drops output after its reader has closed the pipe, and remembers other failures."""

    failure: OSError | None = None

    @override
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            pass  # the reader has read enough: `| head`
        except OSError as error:
            self.failure = error
        return memoryview(data).nbytes


def protect() -> None:
    """Makes printing safe for streams that are closed, whose reader is gone, or that cannot encode a character.

    A closed stream is reopened on the null device, so that no file gets its descriptor and thereby the output.
    """
    _open_closed_ones()
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.stdout, sys.stderr = _shielded(sys.stdout), _shielded(sys.stderr)


def stdout_failure() -> OSError | None:
    """Returns the error that kept output from being written to stdout; None if there is none, or no reader."""
    sys.stdout.flush()
    raw = _raw(sys.stdout)
    return raw.failure if isinstance(raw, _Quiet) else None


def _open_closed_ones() -> None:
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _raw(stream: object) -> object:
    """Returns the raw stream below a text stream; with PYTHONUNBUFFERED its buffer is the raw stream."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _shielded(stream: TextIO) -> TextIO:
    raw = _raw(stream)
    if type(stream) is not io.TextIOWrapper or type(raw) is not io.FileIO:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        return stream  # of a test, a notebook, or the Windows console
    stream.flush()
    quiet = _Quiet(raw.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        quiet if stream.buffer is raw else io.BufferedWriter(quiet),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
