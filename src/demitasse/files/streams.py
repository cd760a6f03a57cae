"""Outputs that are not regular files: devices, pipes, and the standard streams of the process."""

from __future__ import annotations

import os
import re
import stat
import sys
from io import BytesIO
from pathlib import Path

_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/([0-9]{1,9})")
# a longer chain of links is a circle
_MOST_LINKS = 40


def descriptor(path: str | Path) -> int | None:
    """Returns the descriptor of a path such as ``/dev/stdout`` or ``/dev/fd/63``, or of a link to it; else None."""
    name = os.fspath(path)
    for _ in range(_MOST_LINKS):
        if found := _DESCRIPTOR.fullmatch(name):
            return _STANDARD[found[1]] if found[1] else int(found[2])
        if not os.path.islink(name):
            return None
        name = os.path.join(os.path.dirname(name), os.readlink(name))
    return None


def is_stream(path: str | Path) -> bool:
    """Returns whether a path is a device, a pipe, or a stream of this process, which are written directly."""
    if descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def write_through(path: str | Path, content: BytesIO) -> None:
    """Writes to a device, a pipe or a stream.

    Raises:
        OSError: writing fails, or the stream is not open.
    """
    number = descriptor(path)
    if number == _STANDARD["stdout"] and sys.stdout is not None:
        sys.stdout.flush()
    # opening a stream by its name would truncate a file that the shell appends to
    with open(path if number is None else os.dup(number), "wb") as stream:
        stream.write(content.getvalue())
