"""Names of files: in the encoding of the system, as the text of other files, short ones for people, and two for one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def system_path(path: str | Path) -> str:
    """Returns a path from the text of another file, such as a prototxt, in the encoding of this system.

    The name stands for its bytes in UTF-8; a system set to ASCII (``LC_ALL=C``) accepts them only as escapes. An
    invalid name is returned unchanged, and opening it fails.
    """
    name = os.fspath(path)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        try:
            return os.fsdecode(name.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # a lone surrogate
            return name
    return name


def text_path(path: str | Path) -> str:
    """Returns a path as text for another file: the inverse of :func:`system_path`.

    Raises:
        UnicodeError: the bytes of the path are not UTF-8.
    """
    return os.fsencode(path).decode("utf-8")


def short_names(paths: Sequence[str | Path]) -> list[str]:
    """Returns the files' names without extensions, or their whole paths if those names are not distinct."""
    short = [Path(path).stem for path in paths]
    return short if len(set(short)) == len(short) else [os.fspath(path) for path in paths]


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Returns whether two paths lead to one file or folder; False if either leads nowhere."""
    with suppress(OSError, ValueError):
        return os.path.samefile(one, other)
    return False
