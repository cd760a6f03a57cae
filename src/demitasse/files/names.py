"""Names of files, in the words of the system and in those of other files."""

from __future__ import annotations

import os
from pathlib import Path


def system_path(path: str | Path) -> str:
    """Returns a path that stands in another file, a prototxt say, as this system's encoding can carry it.

    Such a name is text, and means the bytes of its UTF-8; a system that is set to ASCII (``LC_ALL=C``) takes them
    by escapes alone. A name that is none stays, and whoever opens it is told.
    """
    name = os.fspath(path)
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        try:
            return os.fsdecode(name.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # half of a pair of surrogates
            return name
    return name


def text_path(path: str | Path) -> str:
    """Returns a path as text that another file can hold: the opposite of :func:`system_path`.

    Raises:
        UnicodeError: its bytes are not UTF-8.
    """
    return os.fsencode(path).decode("utf-8")
