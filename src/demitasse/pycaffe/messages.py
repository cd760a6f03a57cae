"""init_log and log: send Caffe's log lines to stderr."""

from __future__ import annotations

import logging

from demitasse.caffe import log as caffe_log

_LEVELS = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_handler: logging.Handler | None = None


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Sends Caffe's log lines to stderr; before this call only warnings are shown.

    Args:
        level: the lowest level shown: 0 all, 1 warnings, 2 errors, 3 fatal errors.
        stderr: whether to send lines to stderr; with False, no lines are shown.
    """
    global _handler
    if _handler is not None:
        caffe_log.LOGGER.removeHandler(_handler)
    _handler = caffe_log.Stderr() if stderr else logging.NullHandler()
    _handler.setFormatter(caffe_log.GlogFormatter())
    caffe_log.LOGGER.addHandler(_handler)
    caffe_log.LOGGER.setLevel(_LEVELS[level])


def log(message: str) -> None:
    """Writes a line to Caffe's log."""
    caffe_log.info("_caffe.cpp:66", message)
