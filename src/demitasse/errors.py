"""The exceptions that demitasse raises about a user's input, each with its exit code.

Exit code 2 means wrong use (a flag, a prototxt, a name), 1 means failure (a broken file, a diverged run).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# the most characters of a word, and of a message: a name in a hostile file may have millions
_WORD, _MESSAGE = 400, 20_000
_LONG_WORD = re.compile(rf"\S{{{_WORD + 1},}}")


def visible(text: str) -> str:
    """Returns a text with control characters as escapes, so that a file cannot send them to the terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(text: str, most: int = _MESSAGE) -> str:
    """Shortens a text for people: leaves out the middle of long words, and of the whole text if it is long.

    Args:
        text: a name from a file, or a message with such names.
        most: the most characters of the text.
    """
    words = _LONG_WORD.sub(lambda found: _cut(found.group(), _WORD), text) if len(text) > _WORD else text
    return words if len(words) <= most else _cut(text, most)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {text[-most // 4 :]} ({len(text):,} characters)"


# (name, value) of a parameter -> its name in messages; None for the names of Python
Naming = Callable[[str, object], str]
_naming: Naming | None = None


@contextmanager
def named_by(naming: Naming) -> Iterator[None]:
    """Makes messages use other names for parameters, such as the flags of the running command."""
    global _naming
    before, _naming = _naming, naming
    try:
        yield
    finally:
        _naming = before


def parameter(name: str, value: object = None) -> str:
    """Returns the name of a library parameter for a message: ``name``, or ``name=value`` with a value to give it.

    On the command line it is the name of the flag; see :func:`named_by`.
    """
    if _naming is not None:
        return _naming(name, value)
    return name if value is None else f"{name}={value!r}"


class DemitasseError(Exception):
    """Base of all errors in the input, as opposed to errors in the program."""

    exit_code = 1

    def __str__(self) -> str:
        return shortened(super().__str__())

    def within(self, place: str) -> DemitasseError:
        """Returns the same error with the place where it happened before its message."""
        return type(self)(f"{place}: {self}")


class UsageError(DemitasseError):
    """A command or a function was used wrongly: a flag, a value, a combination."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in a registry; the message suggests the most similar known name."""


class MissingPackageError(UsageError, ImportError):
    """A feature needs a package that is not installed; the message names both, and the extra that installs it."""


class PrototxtError(UsageError):
    """A text file that is not a valid net or solver; the message names file and line."""


class NetError(UsageError):
    """A net that cannot be built: a bottom that does not exist, shapes that do not fit."""


class DeviceError(UsageError):
    """A device that this machine does not have."""


class MethodError(UsageError):
    """An invalid setting of a compression method, or a module that was changed while a method was attached."""


class SizeError(MethodError):
    """A size in bytes that compression cannot reach; the message has the smallest size that was reached."""

    exit_code = 1


class FileFormatError(DemitasseError):
    """A file that is cut short, corrupt or of another kind; the message names file and place."""


class WriteError(DemitasseError, OSError):
    """A file that cannot be written: the disk is full, the folder is missing; the message says what is unchanged."""


class WeightsError(DemitasseError):
    """Weights that do not fit the net; the message names the blob and both shapes."""


class PythonLayerError(DemitasseError):
    """A Python layer that is not allowed to run, cannot be loaded, or whose code raised; the message names it."""


class ExportError(DemitasseError):
    """A net that the target format cannot express, or an exported file that computes something else."""


class DataError(DemitasseError):
    """A data source that is missing, empty or has records that cannot be used."""


class SnapshotError(DemitasseError):
    """A snapshot that cannot be written or resumed from."""


class RankError(DemitasseError):
    """A run on several devices that lost a process; the other processes ended, too."""


class DivergedError(DemitasseError):
    """A loss that is not finite, or masks that differ between devices; the message names the iteration."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception means that there is no memory left: Python's own, or one of torch."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("allocate memory", "out of memory", "bad_alloc"))
    )
