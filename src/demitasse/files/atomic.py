"""Writes files atomically: a file is complete or does not exist."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from errno import EACCES, EISDIR
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from demitasse.files.drafts import Draft
from demitasse.files.errors import check_name, writing
from demitasse.files.streams import is_stream, write_through

_OLD = "the existing file is unchanged"
_NEW = "nothing was written"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Yields a temporary file, which replaces ``path`` at the end of the block, if nothing fails in it.

    The data, and then the name, are on the disk before this returns: a run killed at any moment leaves the old file
    or the new one. Of several writers of a path, the last one to end wins. If the path is a link, its target is
    replaced. Permissions stay, and so does the owner where the system allows it. Devices, pipes and streams such as
    ``/dev/stdout`` are written directly, in one write.

    Raises:
        WriteError: the disk is full, the folder is missing, a folder has the name, ...; ``path`` is unchanged.
    """
    check_name(path)
    if is_stream(path):
        content = io.BytesIO()
        yield content
        with writing(path):
            write_through(path, content)
        return
    target = os.path.realpath(path)
    with writing(path):
        before = _before(target)
    errors = partial(writing, path, _OLD if before else _NEW)
    with errors():
        draft = Draft(target, _maker(before))
    with draft:
        with _recorded(draft.descriptor, errors) as file:
            yield file
        with errors():
            if before:
                _keep(draft.descriptor, before)
            os.fsync(draft.descriptor)
            draft.publish(os.replace)


def check_writable(path: str | Path) -> None:
    """Checks before long work that a file can be written: its folder exists, and no folder has its name.

    Raises:
        WriteError: it cannot.
    """
    check_name(path)
    if is_stream(path):
        return
    with writing(path, _NEW):
        _before(os.path.realpath(path))
        os.stat(Path(os.path.realpath(path)).parent)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file; see :func:`atomic_write`."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Writes a file of text in UTF-8; see :func:`atomic_write`."""
    # write lone surrogates, from file names that are not UTF-8, as escapes
    write_bytes(path, text.encode(errors="backslashreplace"))


def _before(target: str) -> os.stat_result | None:
    """Returns the status of the existing file; None if there is none.

    Raises:
        OSError: the file must not be replaced, which renaming would not check.
    """
    try:
        before = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(before.st_mode):
        raise IsADirectoryError(EISDIR, "there is a folder of this name")
    if not os.access(target, os.W_OK):
        raise PermissionError(EACCES, "the file is write-protected")
    return before


def _maker(before: os.stat_result | None) -> Callable[[str], int]:
    # a file that replaces a private one must be private from the start
    mode = 0o600 if before else 0o666
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return lambda name: os.open(name, flags, mode)


def _keep(descriptor: int, before: os.stat_result) -> None:
    """Gives a new file the owner and the permissions of the old one."""
    if not hasattr(os, "fchown"):  # Windows
        return
    mode = stat.S_IMODE(before.st_mode)
    try:
        os.fchown(descriptor, before.st_uid, before.st_gid)
    except OSError:  # only root can change the owner
        mode &= 0o777
        with suppress(OSError):
            os.fchown(descriptor, -1, before.st_gid)
    with suppress(PermissionError):  # a file system without permissions
        os.fchmod(descriptor, mode)


class _Recording(io.FileIO):
    """Records the first error of a write, which libraries replace by errors of their own."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise


@contextmanager
def _recorded(descriptor: int, errors: Callable[[], AbstractContextManager[None]]) -> Iterator[BinaryIO]:
    raw = _Recording(descriptor, "r+b", closefd=False)
    file = io.BufferedRandom(raw)
    try:
        yield file
        file.flush()
    except Exception:
        if raw.failure is None:
            raise
        with errors():
            raise raw.failure from None
    finally:
        with suppress(OSError):  # do not try again to write what could not be written
            file.close()
