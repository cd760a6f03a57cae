"""Where a file is read from or written to: a path, bytes in memory, or a file that is open."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from demitasse.errors import FileFormatError, UsageError, WriteError
from demitasse.files import check_readable, writing

T = TypeVar("T")
Source = str | Path | bytes | BinaryIO
# how PyTorch names what it does not load without running code
_PICKLED = re.compile(r"Unsupported (?:global|class)[^A-Za-z]*(?:GLOBAL )?([\w.]+)")
_UNPICKLER = re.compile(r"WeightsUnpickler error: ([^\n]+)")


def content_of(source: Source) -> Path | bytes:
    """Returns a path, or the bytes that are given or that a file still has to read.

    Raises:
        UsageError: it is something else, a file of text, one that is closed, or one that is open for writing alone.
        FileFormatError: what is at the path is no file, or the file cannot be read.
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
        data: Any = "" if isinstance(source, io.TextIOBase) else source.read()
    except UnicodeDecodeError:
        data = ""  # bytes that were read as text
    except OSError as error:
        raise FileFormatError(f"{name_of(source)}: cannot be read: {error.strerror or error}") from error
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise UsageError(f"{name_of(source)} gives {type(data).__name__}; open it in binary mode: open(path, 'rb')")
    return bytes(data)


def check_writable(file: object) -> None:
    """Raises where a file is closed, open for reading alone, or one of text.

    Raises:
        UsageError: as said.
    """
    _check_open(file, "writable", "writing")
    if isinstance(file, io.TextIOBase):
        raise _takes_text(file)


def write_all(content: bytes, file: BinaryIO) -> None:
    """Writes all to a file that is open, however little it takes at once.

    Raises:
        UsageError: it is a file of text.
        WriteError: it takes no more.
    """
    left = memoryview(content)
    with writing(name_of(file)):
        while left:
            try:
                taken: int | None = file.write(left)
            except TypeError:
                raise _takes_text(file) from None
            if taken is None and not isinstance(file, io.IOBase):
                return  # a class of the user's own, which does not count
            if not taken or taken < 0:
                done = len(content) - len(left)
                raise WriteError(f"{name_of(file)}: cannot be written: it took {done:,} of {len(content):,} bytes")
            left = left[taken:]


def _takes_text(file: object) -> UsageError:
    return UsageError(f"{name_of(file)} takes text; open it in binary mode: open(path, 'wb')")


def _check_open(file: object, able: str, purpose: str) -> None:
    """Raises where a file says that it is closed, or not open for this purpose."""
    if getattr(file, "closed", False) is True:
        raise UsageError(f"{name_of(file)} is a closed file; expected one that is open for {purpose}")
    asked = getattr(file, able, None)
    if callable(asked) and asked() is False:
        raise UsageError(f"{name_of(file)} is not open for {purpose}; expected a file that is")


def name_of(file: object) -> str:
    """Returns the name of a file that is open, for messages and for its suffix; ``data`` where it has none."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else "data"


def is_text(value: object) -> bool:
    """Returns whether a value is text that UTF-8 can hold."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_undisturbed(path: Path, read: Callable[[], T]) -> T:
    """Returns what is read of a file while no other file took its place: else it is read again."""
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
    """Returns the path, for messages; ``data`` for bytes."""
    return "data" if isinstance(source, bytes) else str(source)


def missing_file_error(source: Path | bytes) -> FileFormatError:
    """Returns the error for a file that is not there."""
    return FileFormatError(f"{place_of(source)}: there is no such file")


def unreadable_file_error(source: Path | bytes, error: Exception, form: str) -> FileFormatError:
    """Returns the error for what a reader of the form raised: they raise what they like at a broken file."""
    text = str(error) or type(error).__name__
    reason = text.splitlines()[0]
    if "TorchScript" in text:
        reason = "it holds a TorchScript program; save the state_dict() of the module instead"
    elif found := _PICKLED.search(text):  # before the plain message, which names it as well
        reason = (
            f"it holds a pickled {found[1]}, which takes code to read: no such code runs here; "
            "save the state_dict() of the module instead"
        )
    elif (found := _UNPICKLER.search(text)) and "operand" not in found[1]:
        reason = found[1]
    elif form == ".pt":  # torch names what it looked for, or advises to run the code of the file
        reason = "it is cut short, damaged, or no file of torch.save"
    return FileFormatError(f"{place_of(source)}: cannot be read as {form}: {reason}")
