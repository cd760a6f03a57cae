"""Drafts: temporary files and folders beside a target, which take its place once they are whole.

A draft has a name that nobody can foresee, is made anew (a link that waits under the name is refused, not followed)
and is locked as long as its writer lives. So the next writer of the target can tell what a killed one has left, and
removes it. The writer's lock is a shared one: a reader that locks the file it reads, as HDF5 does, may find a new file
still locked. Windows has no such locks: what a killed writer leaves stays there.
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

# letters of the target's name in the draft's: a name of the greatest length must still fit
_LETTERS = 48


class Draft(Closing):
    """A new temporary file or folder beside a target.

    Args:
        target: path of the file or folder that the draft is for.
        make: makes a file or folder of a name, or raises FileExistsError; returns its descriptor.

    Attributes:
        name: its path.
        descriptor: open, and locked, until the draft takes the place of the target.
    """

    def __init__(self, target: str, make: Callable[[str], int]) -> None:
        _sweep(target)
        self._target = target
        self.name, self.descriptor = _claim(target, make)

    def publish(self, rename: Callable[[str, str], None]) -> None:
        """Gives the draft the name of its target."""
        if sys.platform == "win32":  # which renames nothing that is open
            self._release()
        rename(self.name, self._target)
        sync_folder(os.path.dirname(self._target))

    def close(self) -> None:
        """Removes the draft, unless it has the name of its target."""
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
        # another writer that sweeps may have it at this moment: then it is gone when the lock is ours
        with suppress(OSError):
            _lock(descriptor, "LOCK_SH")
        if os.path.lexists(name):
            return name, descriptor
        os.close(descriptor)


def _prefix(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:_LETTERS]}.")


def _sweep(target: str) -> None:
    """Removes the drafts that killed writers of a target have left."""
    folder, prefix = os.path.split(_prefix(target))
    left = re.compile(re.escape(prefix) + r"[0-9a-f]{8}\.tmp")
    with suppress(OSError):  # a folder that is missing, or may be written but not listed
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
    """Locks a file or folder; returns whether there are such locks.

    Raises:
        OSError: somebody else has it, or the file system knows no locks.
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
    """Brings the names in a folder to the disk, where the system can."""
    with suppress(OSError):  # Windows opens no folders, and not every file system has this for them
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
