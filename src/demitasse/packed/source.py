"""Reads the bytes of a file at any position, from disk or from memory."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from demitasse.errors import FileFormatError, UsageError
from demitasse.files import check_readable


class ByteSource:
    """The bytes of a file, which several threads and forked processes may read at the same time.

    Forked processes share the offset of an open file, so seeking in one would move the others. Reads therefore give
    their position (``os.pread``); a system without such reads has no fork either.

    Args:
        source: a path, or the bytes themselves.

    Attributes:
        name: name of the file, for messages.
        size: size in bytes.

    Raises:
        FileFormatError: there is no such file, or it cannot be read.
    """

    def __init__(self, source: str | Path | bytes) -> None:
        self.name = "data" if isinstance(source, bytes) else str(source)
        self._lock = Lock()
        if not isinstance(source, bytes):
            check_readable(source)
        try:
            # stays open until close()
            self._file: BinaryIO = BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
        except FileNotFoundError:
            raise FileFormatError(f"{source!s}: there is no such file") from None
        except OSError as error:
            raise FileFormatError(f"{source!s}: cannot be read: {error.strerror or error}") from error
        try:
            self.size = self._file.seek(0, os.SEEK_END)
        except OSError as error:  # files without an end, such as some in /proc
            self._file.close()
            raise FileFormatError(f"{source!s}: cannot be read: {error.strerror or error}") from error
        self._positional = hasattr(os, "pread") and not isinstance(source, bytes)

    def read(self, start: int, length: int) -> bytes:
        """Returns ``length`` bytes from ``start`` on, or fewer at the end of the file.

        Raises:
            UsageError: the file was closed.
        """
        if self._file.closed:
            raise UsageError(f"{self.name} is a closed file; open it again, or read within the 'with' block")
        length = max(0, min(length, self.size - start))
        if not self._positional:
            with self._lock:
                self._file.seek(start)
                return self._file.read(length)
        found = bytearray()
        # one read returns at most 2 GiB
        while piece := os.pread(self._file.fileno(), length - len(found), start + len(found)):
            if len(piece) == length:
                return piece
            found += piece
        return bytes(found)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
