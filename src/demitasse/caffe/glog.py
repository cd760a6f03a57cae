"""The flags of glog, Caffe's logging library, as far as they have a meaning here."""

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
# taken, and without effect: there is no verbose log, no colour, one file, and no buffer
_IDLE = {
    **dict.fromkeys(("v", "vmodule", "logbuflevel", "logbufsecs", "max_log_size", "log_link", "logfile_mode"), False),
    **dict.fromkeys(("log_backtrace_at", "logemaillevel", "logmailer", "alsologtoemail"), False),
    **dict.fromkeys(("colorlogtostderr", "stop_logging_if_full_disk", "drop_log_memory", "logtostdout"), True),
    **dict.fromkeys(("symbolize_stacktrace", "log_utc_time", "log_file_header", "timestamp_in_logfile_name"), True),
}


@dataclass(frozen=True)
class GlogSettings:
    """What is logged, and where to.

    Attributes:
        minloglevel: the least severity that is logged: 0 information, 1 warnings, 2 errors, 3 fatal ones.
        stderrthreshold: the least severity on stderr, where neither of the next two is set.
        alsologtostderr: all goes to stderr, too; Caffe's programs set it.
        logtostderr: all goes to stderr, and nothing to files.
        log_dir: folder for a copy of the log; empty for none.
        log_year_in_prefix: lines begin with year, month and day, as since glog 0.6, not with month and day.
        log_prefix: lines begin with severity, moment, process and place.
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
        """Returns the settings of flags, and of variables such as ``GLOG_minloglevel`` for those that are not given.

        Raises:
            UsageError: a severity that is not 0, 1, 2 or 3.
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
        """The least level of logging that is logged."""
        return _LEVELS[self.minloglevel]

    @property
    def stderr_level(self) -> int:
        """The least level of logging that goes to stderr."""
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
    """Lets logs be written by these settings."""
    token = SETTINGS.set(settings)
    try:
        yield
    finally:
        SETTINGS.reset(token)


def _severity(name: str, text: str) -> int:
    if text.lower().removeprefix("0x") not in ("0", "1", "2", "3"):
        raise UsageError(f"--{name}={text}: expected 0, 1, 2 or 3")
    return int(text[-1])
