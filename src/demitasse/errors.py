"""The exceptions that demitasse raises for a user's input, each with its exit code.

Exit code 2 means wrong use (a flag, a prototxt, a name), 1 means failure (a broken file, a diverged run).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# characters of a word, and of a message: names in a stranger's file may have millions
_WORD, _MESSAGE = 400, 20_000
_LONG_WORD = re.compile(rf"\S{{{_WORD + 1},}}")


def visible(text: str) -> str:
    """Returns a text from a file with control characters written as escapes, so that none reaches the terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def shortened(text: str, most: int = _MESSAGE) -> str:
    """Returns a text from a file as people can read it: what is in the middle of a long word, or of all, is left out.

    Args:
        text: a name, or a message with names in it.
        most: characters of the whole.
    """
    text = _LONG_WORD.sub(lambda found: _cut(found.group(), _WORD), text) if len(text) > _WORD else text
    return _cut(text, most)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} ... {text[-most // 4 :]} ({len(text):,} characters)"


# what a parameter is called, from its name and the value to give it; None says it as Python does
Naming = Callable[[str, object], str]
_naming: Naming | None = None


@contextmanager
def named_by(naming: Naming) -> Iterator[None]:
    """Lets messages call parameters by other names, such as the flags of the command that runs."""
    global _naming
    before, _naming = _naming, naming
    try:
        yield
    finally:
        _naming = before


def parameter(name: str, value: object = None) -> str:
    """Returns how a message calls a parameter of the library: ``name``, or ``name=value`` with what to give it.

    A command line calls it by its flag; see :func:`named_by`.
    """
    if _naming is not None:
        return _naming(name, value)
    return name if value is None else f"{name}={value!r}"


class DemitasseError(Exception):
    """Base of all errors that are the input's fault, not the program's."""

    exit_code = 1

    def __str__(self) -> str:
        return shortened(super().__str__())

    def within(self, place: str) -> DemitasseError:
        """Returns the same error with the place where it happened put in front of its message."""
        return type(self)(f"{place}: {self}")


class UsageError(DemitasseError):
    """A command or a function was used wrongly: a flag, a value, a combination."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no registry entry carries; the message names the nearest known one."""


class MissingPackageError(UsageError, ImportError):
    """A feature needs a package that is not installed; the message names both, and the extra that installs it."""


class PrototxtError(UsageError):
    """A text file that is not a valid net or solver; the message says file and line."""


class NetError(UsageError):
    """A net that cannot be built: a bottom that does not exist, shapes that do not fit."""


class DeviceError(UsageError):
    """A device was asked for that this machine does not have."""


class MethodError(UsageError):
    """A setting of a compression method that has no meaning, or a method that has lost track of its module."""


class FileFormatError(DemitasseError):
    """A file that is cut short, corrupt or of another kind; the message says file and place."""


class WriteError(DemitasseError, OSError):
    """A file that cannot be written: the disk is full, the folder is missing; the message says what is safe."""


class WeightsError(DemitasseError):
    """Weights that do not belong to the net; the message names the blob and both shapes."""


class PythonLayerError(DemitasseError):
    """A Python layer that may not run here, cannot be loaded, or whose code raised; the message says which."""


class ExportError(DemitasseError):
    """A net that the target format cannot express, or whose exported file computes something else."""


class DataError(DemitasseError):
    """A data source that is missing, empty or holds records that cannot be used."""


class SnapshotError(DemitasseError):
    """A snapshot that could not be written or resumed from."""


class RankError(DemitasseError):
    """A process of a run on several devices was lost; the others ended with it."""


class DivergedError(DemitasseError):
    """The loss is no longer a number, or the masks of several devices differ; the message says the iteration."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception says that there is no memory left: Python's own, or torch's of a device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error) for words in ("allocate memory", "out of memory", "bad_alloc"))
    )
