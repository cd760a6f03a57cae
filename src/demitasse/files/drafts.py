"""Drafts: temporary files and folders next to a target, which replace it once they are complete.

A draft has an unpredictable name, is always newly created (an existing link of that name is refused, not followed) and
is locked as long as its writer lives. So the next writer of the target recognizes what a killed writer has left, and
removes it. The lock is shared, since a reader that locks its file, as HDF5 does, may open a new file that is still
locked. Windows has no such locks: there the drafts of killed writers remain.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import suppress

from demitasse.files.closing import Closing

# letters of the target's name in the draft's name, so that the draft of the longest name still fits
_LETTERS = 48


class Draft(Closing):
    """A new temporary file or folder next to a target.

    Args:
        target: path of the file or folder that the draft will replace.
        make: creates a file or folder of a name, or raises FileExistsError; returns its descriptor.

    Attributes:
        name: path of the draft.
        descriptor: an open, locked descriptor of the draft, until the draft replaces the target.
    """

    def __init__(self, target: str, make: Callable[[str], int]) -> None:
        _sweep(target)
        self._target = target
        self.name, self.descriptor = _claim(target, make)

    def publish(self, rename: Callable[[str, str], None]) -> None:
        """Renames the draft to its target."""
        if sys.platform == "win32":  # Windows cannot rename an open file
            self._release()
        rename(self.name, self._target)
        sync_folder(os.path.dirname(self._target))

    def close(self) -> None:
        """Removes the draft, unless it was renamed to its target."""
        self._release()
        _remove(self.name)

    def _release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _claim(target: str, make: Callable[[str], int]) -> tuple[str, int]:
    while True:
        name = f"{_prefix(target)}{secrets.token_hex(4)}.tmp"
        try:
            descriptor = make(name)
        except FileExistsError:
            continue
        # another writer may be removing the draft at this moment: then it no longer exists once we have the lock
        with suppress(OSError):
            _lock(descriptor, "LOCK_SH")
        if os.path.lexists(name):
            return name, descriptor
        os.close(descriptor)


def _prefix(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:_LETTERS]}.")


def _sweep(target: str) -> None:
    """Removes the drafts that killed writers of the target have left."""
    folder, prefix = os.path.split(_prefix(target))
    left = re.compile(re.escape(prefix) + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError):  # the folder is missing, or may be written but not listed
        for name in filter(left.fullmatch, os.listdir(folder or ".")):
            _remove_abandoned(os.path.join(folder, name))


def _remove_abandoned(name: str) -> None:
    with suppress(OSError):
        mode = os.lstat(name).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if _lock(descriptor, "LOCK_EX", "LOCK_NB"):
                _remove(name)
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *flags: str) -> bool:
    """Locks a file or folder; returns whether the system has such locks.

    Raises:
        OSError: another process has the lock, or the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    fcntl.flock(descriptor, sum(getattr(fcntl, flag) for flag in flags))
    return True


def _remove(name: str) -> None:
    if os.path.isdir(name) and not os.path.islink(name):
        shutil.rmtree(name, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(name)


def sync_folder(folder: str) -> None:
    """Writes the names in a folder to the disk, where the system can."""
    with suppress(OSError):  # Windows cannot open folders, and not every file system can sync them
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
