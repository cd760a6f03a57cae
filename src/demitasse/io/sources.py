"""Where a file is read from or written to: a path, bytes in memory, or a file that is open."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from demitasse.errors import FileFormatError, UsageError
from demitasse.files import writing

T = TypeVar("T")
Source = str | Path | bytes | BinaryIO
# how PyTorch names what it does not load without running code
_PICKLED = re.compile(r"Unsupported (?:global|class|operand)[^A-Za-z]*(?:GLOBAL )?([\w.]+)")
_UNPICKLER = re.compile(r"WeightsUnpickler error: ([^\n]+)")


def content_of(source: Source) -> Path | bytes:
    """Returns a path, or the bytes that are given or that a file still has to read.

    Raises:
        UsageError: it is something else, or a file of text.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        return Path(source)
    if not hasattr(source, "read"):
        raise UsageError(f"found a {type(source).__name__}; expected a path, bytes, or a file that is open for reading")
    data: Any = source.read()
    if not isinstance(data, bytes):
        raise UsageError(f"{name_of(source)} gives {type(data).__name__}; open it in binary mode: open(path, 'rb')")
    return data


def put(content: memoryview, file: BinaryIO) -> None:
    """Writes to a file that is open.

    Raises:
        UsageError: it is a file of text.
        WriteError: it takes no more.
    """
    try:
        with writing(name_of(file)):
            file.write(content)
    except TypeError:
        raise UsageError(f"{name_of(file)} takes text; open it in binary mode: open(path, 'wb')") from None


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


def undisturbed(path: Path, read: Callable[[], T]) -> T:
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


def missing(source: Path | bytes) -> FileFormatError:
    """Returns the error for a file that is not there."""
    return FileFormatError(f"{place_of(source)}: there is no such file")


def unreadable(source: Path | bytes, error: Exception, form: str) -> FileFormatError:
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
    elif found := _UNPICKLER.search(text):
        reason = found[1]
    return FileFormatError(f"{place_of(source)}: cannot be read as {form}: {reason}")
