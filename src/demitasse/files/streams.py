"""Outputs that are no files: devices, pipes, and the streams that a process is given."""

from __future__ import annotations

import os
import re
import stat
import sys
from io import BytesIO
from pathlib import Path

_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/([0-9]{1,9})")
# a chain of links that is longer goes in a circle
_MOST_LINKS = 40


def descriptor(path: str | Path) -> int | None:
    """Returns the descriptor that a path such as ``/dev/stdout`` or ``/dev/fd/63``, or a link to it, stands for."""
    name = os.fspath(path)
    for _ in range(_MOST_LINKS):
        if found := _DESCRIPTOR.fullmatch(name):
            return _STANDARD[found[1]] if found[1] else int(found[2])
        if not os.path.islink(name):
            return None
        name = os.path.join(os.path.dirname(name), os.readlink(name))
    return None


def is_stream(path: str | Path) -> bool:
    """Returns whether what is at a path is written through: a device, a pipe, or a stream of this process."""
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
        OSError: it takes no more, or is not open.
    """
    number = descriptor(path)
    if number == _STANDARD["stdout"] and sys.stdout is not None:
        sys.stdout.flush()
    # opened by its name, a file that the shell appends to would be emptied
    with open(path if number is None else os.dup(number), "wb") as stream:
        stream.write(content.getvalue())
