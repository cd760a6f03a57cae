"""The flags of glog, Caffe's logging library."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

from demitasse.errors import UsageError

_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
# accepted without effect, since there are no verbose lines, no colours, no buffer, and only one file
_IDLE = {
    **dict.fromkeys(("v", "vmodule", "logbuflevel", "logbufsecs", "max_log_size", "log_link", "logfile_mode"), False),
    **dict.fromkeys(("log_backtrace_at", "logemaillevel", "logmailer", "alsologtoemail"), False),
    **dict.fromkeys(("colorlogtostderr", "stop_logging_if_full_disk", "drop_log_memory", "logtostdout"), True),
    **dict.fromkeys(("symbolize_stacktrace", "log_utc_time", "log_file_header", "timestamp_in_logfile_name"), True),
}


@dataclass(frozen=True)
class GlogSettings:
    """The settings of logging.

    Attributes:
        minloglevel: the lowest severity that is logged: 0 information, 1 warnings, 2 errors, 3 fatal errors.
        stderrthreshold: the lowest severity sent to stderr, if neither of the next two is set.
        alsologtostderr: whether all lines are also sent to stderr; Caffe's programs set it.
        logtostderr: whether all lines are sent to stderr, and none to files.
        log_dir: the folder for a copy of the log; empty for none.
        log_year_in_prefix: whether lines begin with year, month and day, as since glog 0.6, not with month and day.
        log_prefix: whether lines begin with severity, time, process and place.
    """

    minloglevel: int = 0
    stderrthreshold: int = 2
    alsologtostderr: bool = True
    logtostderr: bool = False
    log_dir: str = ""
    log_year_in_prefix: bool = False
    log_prefix: bool = True

    @classmethod
    def from_flags(cls, flags: Mapping[str, str]) -> GlogSettings:
        """Returns the settings of flags; missing flags are taken from variables such as ``GLOG_minloglevel``.

        Raises:
            UsageError: a severity is not 0, 1, 2 or 3.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            text = flags.get(field.name, os.environ.get(f"GLOG_{field.name}"))
            if text is None:
                continue
            if isinstance(field.default, bool):
                found[field.name] = text[:1] in ("", "t", "T", "1", "y", "Y")
            else:
                found[field.name] = _severity(field.name, text) if isinstance(field.default, int) else text
        return cls(**found)

    @property
    def level(self) -> int:
        """The lowest level of Python's logging that is logged."""
        return _LEVELS[self.minloglevel]

    @property
    def stderr_level(self) -> int:
        """The lowest level of Python's logging that is sent to stderr."""
        return self.level if self.alsologtostderr or self.logtostderr else _LEVELS[self.stderrthreshold]

    @property
    def folder(self) -> str:
        """The folder for a copy of the log; empty for none."""
        return "" if self.logtostderr else self.log_dir


# name of each flag -> whether it is boolean
FLAGS = {**_IDLE, **{field.name: isinstance(field.default, bool) for field in fields(GlogSettings)}}

SETTINGS: ContextVar[GlogSettings] = ContextVar("glog", default=GlogSettings())  # noqa: B039


@contextmanager
def configured(settings: GlogSettings) -> Iterator[None]:
    """Uses these settings for logs that are started in the context."""
    token = SETTINGS.set(settings)
    try:
        yield
    finally:
        SETTINGS.reset(token)


def _severity(name: str, text: str) -> int:
    if text.lower().removeprefix("0x") not in ("0", "1", "2", "3"):
        raise UsageError(f"--{name}={text}: expected 0, 1, 2 or 3")
    return int(text[-1])
