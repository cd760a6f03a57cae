"""Writes log lines in the format of Caffe's logging library, so that log parsers made for Caffe keep working."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TextIO

from typing_extensions import override

from demitasse.caffe.glog import SETTINGS
from demitasse.errors import shortened
from demitasse.files import make_folder, writing

LOGGER = logging.getLogger("demitasse.caffe")


class GlogFormatter(logging.Formatter):
    """Formats ``I1123 08:27:37.111137 32384 solver.cpp:222] message``; the place is the record's ``caffe``.

    This is the format of glog up to version 0.5; newer versions put the year before the month.
    """

    def __init__(self) -> None:
        super().__init__()
        settings = SETTINGS.get()
        self._day = "%Y%m%d" if settings.log_year_in_prefix else "%m%d"
        self._has_prefix = settings.log_prefix

    @override
    def format(self, record: logging.LogRecord) -> str:
        if not self._has_prefix:
            return super().format(record)
        moment = datetime.fromtimestamp(record.created)
        place = getattr(record, "caffe", f"{record.filename}:{record.lineno}")
        letter = "F" if record.levelno >= logging.CRITICAL else record.levelname[0]
        return f"{letter}{moment:{self._day} %H:%M:%S.%f} {record.process:5d} {place}] {super().format(record)}"


class Stderr(logging.StreamHandler[TextIO]):
    """Writes to the current ``sys.stderr``, which a progress bar replaces while it is shown."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class LogFile(logging.FileHandler):
    """Writes to a file; the first line that cannot be written ends the run.

    Args:
        path: the path of the file.
        mode: ``x`` for a file that must not exist yet, ``w`` to overwrite an existing one.

    Raises:
        WriteError: the file cannot be opened or written.
    """

    def __init__(self, path: str | Path, mode: str = "x") -> None:
        self._place, self._failed = path, False
        with writing(path):
            super().__init__(path, mode, encoding="utf-8", errors="backslashreplace")

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            with writing(self._place, "earlier snapshots are whole"):
                raise error

    @override
    def close(self) -> None:
        with suppress(OSError):  # lines that could not be written before would fail again
            super().close()


@contextmanager
def to_stderr(folder: str | Path | None = None) -> Iterator[None]:
    """Sends Caffe's log lines to stderr, and to a new file in ``folder`` or in glog's ``log_dir``, if given."""
    settings = SETTINGS.get()
    handlers: list[logging.Handler] = [Stderr()]
    handlers[0].setLevel(settings.stderr_level)
    folder = folder or settings.folder
    if folder:
        name = f"demitasse.INFO.{datetime.now():%Y%m%d-%H%M%S}.{os.getpid()}"
        handlers.append(LogFile(make_folder(folder) / name))
    with attached(*handlers):
        yield


@contextmanager
def silenced() -> Iterator[None]:
    """Drops Caffe's log lines."""
    with attached(logging.NullHandler()):
        yield


@contextmanager
def attached(*handlers: logging.Handler) -> Iterator[None]:
    """Sends Caffe's log lines to the handlers, and closes the handlers at the end."""
    level = LOGGER.level
    LOGGER.setLevel(SETTINGS.get().level)
    for handler in handlers:
        handler.setFormatter(GlogFormatter())
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        for handler in handlers:
            LOGGER.removeHandler(handler)
            handler.close()


def info(place: str, message: str) -> None:
    """Logs a line of Caffe's log; ``place`` is its source in Caffe, such as ``solver.cpp:222``."""
    LOGGER.info(shortened(message, len(message)), extra={"caffe": place})


def warning(place: str, message: str) -> None:
    """Logs a warning; see :func:`info`."""
    LOGGER.warning(shortened(message), extra={"caffe": place})


def shown(top: str) -> str:
    """Returns the name of a top in Caffe's log: ``(automatic)`` for the top of a loss that names none."""
    return re.sub(r"(?s).* (\(automatic\))'*", r"\1", top)


def number(value: float) -> str:
    """Returns a number in the format of a C++ stream: at most six significant digits."""
    return f"{value:g}"
