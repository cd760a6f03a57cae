"""Sources and targets of files: a path, bytes in memory, or an open file; and the errors of reading them."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from demitasse.errors import FileFormatError, UsageError, WriteError
from demitasse.files import check_readable, writing

T = TypeVar("T")
Source = str | Path | bytes | BinaryIO
# how PyTorch names an object that it cannot load without running code
_PICKLED = re.compile(r"[Uu]nsupported (?:global|GLOBAL|class)[^A-Za-z]*(?:GLOBAL )?([\w.]+)")
_UNPICKLER = re.compile(r"WeightsUnpickler error: ([^\n]+)")


def content_of(source: Source) -> Path | bytes:
    """Returns the path, or the bytes that are given or are left to read in an open file.

    Raises:
        UsageError: the source is something else, or a file that is closed, in text mode, or only open for writing.
        FileFormatError: there is something other than a file at the path, or the file cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        check_readable(source)
        return Path(source)
    if not hasattr(source, "read"):
        raise UsageError(f"found a {type(source).__name__}; expected a path, bytes, or a file that is open for reading")
    _check_open(source, "readable", "reading")
    try:
        data: object = "" if isinstance(source, io.TextIOBase) else source.read()
    except UnicodeDecodeError:
        data = ""  # a file in text mode that contains bytes
    except OSError as error:
        raise FileFormatError(f"{name_of(source)}: cannot be read: {error.strerror or error}") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise UsageError(
            f"{name_of(source)}: read() returns {type(data).__name__}; open it in binary mode: open(path, 'rb')"
        )
    return bytes(data)


def check_writable(file: object) -> None:
    """Checks that a file can be written in binary mode.

    Raises:
        UsageError: the file is closed, only open for reading, or in text mode.
    """
    _check_open(file, "writable", "writing")
    if isinstance(file, io.TextIOBase):
        raise _takes_text(file)


def write_all(content: bytes, file: BinaryIO) -> None:
    """Writes the whole content to an open file, in several calls if each writes only a part.

    Raises:
        UsageError: the file is in text mode.
        WriteError: the file accepts no more bytes.
    """
    left = memoryview(content)
    with writing(name_of(file)):
        while left:
            try:
                taken: int | None = file.write(left)
            except TypeError:
                raise _takes_text(file) from None
            if taken is None and not isinstance(file, io.IOBase):
                return  # a user's class whose write returns no count
            if not taken or taken < 0:
                done = len(content) - len(left)
                raise WriteError(f"{name_of(file)}: cannot be written: it accepted {done:,} of {len(content):,} bytes")
            left = left[taken:]


def _takes_text(file: object) -> UsageError:
    return UsageError(f"{name_of(file)} is open in text mode; open it in binary mode: open(path, 'wb')")


def _check_open(file: object, able: str, purpose: str) -> None:
    """Raises UsageError if a file reports that it is closed, or not open for this purpose."""
    if getattr(file, "closed", False) is True:
        raise UsageError(f"{name_of(file)} is closed; expected a file that is open for {purpose}")
    asked = getattr(file, able, None)
    if callable(asked) and asked() is False:
        raise UsageError(f"{name_of(file)} is not open for {purpose}; expected a file that is open for {purpose}")


def name_of(file: object) -> str:
    """Returns the name of an open file, for messages and for its suffix; ``data`` if it has none."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else "data"


def is_text(value: object) -> bool:
    """Returns whether a value is text that UTF-8 can encode."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_undisturbed(path: Path, read: Callable[[], T]) -> T:
    """Reads a file, and reads it again if another file replaced it meanwhile."""
    while True:
        before = _identity(path)
        try:
            found = read()
        except Exception:
            if _identity(path) == before:
                raise
            continue
        if _identity(path) == before:
            return found


def _identity(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def place_of(source: Path | bytes) -> str:
    """Returns the name of a source in messages: its path, or ``data`` for bytes."""
    return "data" if isinstance(source, bytes) else str(source)


def missing_file_error(source: Path | bytes) -> FileFormatError:
    """Returns the error for a missing file."""
    return FileFormatError(f"{place_of(source)}: there is no such file")


def unreadable_file_error(source: Path | bytes, error: Exception, form: str) -> FileFormatError:
    """Returns the error for any exception that a reader of the format raised for a broken file."""
    text = str(error) or type(error).__name__
    reason = text.splitlines()[0]
    if "TorchScript" in text:
        reason = "it contains a TorchScript program; save the state_dict() of the module instead"
    elif found := _PICKLED.search(text):  # before the plain message, which names it as well
        reason = (
            f"it contains a pickled {found[1]}, and reading that would run code from the file; "
            "save the state_dict() of the module instead"
        )
    elif (found := _UNPICKLER.search(text)) and "operand" not in found[1]:
        reason = found[1]
    elif form == ".pt":  # torch's own message names internals, or advises to run the code of the file
        reason = "it is cut short, damaged, or was not written by torch.save"
    return FileFormatError(f"{place_of(source)}: cannot be read as {form}: {reason}")
