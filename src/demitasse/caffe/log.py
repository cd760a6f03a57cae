"""Log lines as Caffe's logging library writes them, so that log parsers made for Caffe keep working."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demitasse.errors import shortened

if TYPE_CHECKING:
    from demitasse.caffe.net import Net

LOGGER = logging.getLogger("demitasse.caffe")


class GlogFormatter(logging.Formatter):
    """``I20261123 08:27:37.111137 32384 solver.cpp:222] message``; the place is the record's ``caffe``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created)
        place = getattr(record, "caffe", f"{record.filename}:{record.lineno}")
        letter = "F" if record.levelno >= logging.CRITICAL else record.levelname[0]
        return f"{letter}{moment:%Y%m%d %H:%M:%S.%f} {record.process:5d} {place}] {super().format(record)}"


class Stderr(logging.StreamHandler[Any]):
    """Writes to what ``sys.stderr`` is at that moment: a progress bar puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


@contextmanager
def to_stderr(folder: str | Path | None = None) -> Iterator[None]:
    """Sends Caffe's log lines to stderr, and to a new file in ``folder`` where one is given."""
    handlers: list[logging.Handler] = [Stderr()]
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = f"demitasse.INFO.{datetime.now():%Y%m%d-%H%M%S}.{os.getpid()}"
        handlers.append(logging.FileHandler(Path(folder) / name))
    with attached(*handlers):
        yield


@contextmanager
def silenced() -> Iterator[None]:
    """Drops Caffe's log lines."""
    with attached(logging.NullHandler()):
        yield


@contextmanager
def attached(*handlers: logging.Handler) -> Iterator[None]:
    """Sends Caffe's log lines to the handlers, and closes them at the end."""
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
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
    """Logs a line of Caffe's; ``place`` is where Caffe has it, such as ``solver.cpp:222``."""
    LOGGER.info(shortened(message, len(message)), extra={"caffe": place})


def warning(place: str, message: str) -> None:
    """Logs a warning; see :func:`info`."""
    LOGGER.warning(shortened(message), extra={"caffe": place})


def number(value: float) -> str:
    """Returns a number as a C++ stream prints it: at most six significant digits."""
    return f"{value:g}"


def output_lines(place: str, prefix: str, net: Net, values: dict[str, list[float]]) -> None:
    """Logs one line for each value of a net's outputs; those that count into the loss say by how much."""
    index = 0
    for name in net.outputs:
        for value in values[name]:
            info(place, f"{prefix} #{index}: {name} = {number(value)}{weighted(net, name, value)}")
            index += 1


def weighted(net: Net, name: str, value: float) -> str:
    """Returns `` (* weight = value loss)`` for an output that counts into the loss, else nothing."""
    weight = net.losses.get(name, 0.0)
    return f" (* {number(weight)} = {number(weight * value)} loss)" if weight else ""


def describe(net: Net) -> None:
    """Logs how a net was put together, layer by layer, as Caffe does while it builds one."""
    info("net.cpp:51", f"Initializing net from parameters: \n{net.spec}")
    memory = 0
    for spec in net.spec.layer:
        info("net.cpp:84", f"Creating Layer {spec.name}")
        for bottom in spec.bottom:
            info("net.cpp:413", f"{spec.name} <- {bottom}")
        for top in spec.top:
            in_place = " (in-place)" if top in spec.bottom else ""
            info("net.cpp:387", f"{spec.name} -> {top}{in_place}")
        info("net.cpp:127", f"Setting up {spec.name}")
        for top in spec.top:
            shape = net.shapes[top]
            count = math.prod(shape)
            info("net.cpp:136", f"Top shape: {''.join(f'{size} ' for size in shape)}({count})")
            memory += 4 * count
            if top in net.losses:
                info("net.cpp:139", f"    with loss weight {number(net.losses[top])}")
        info("net.cpp:144", f"Memory required for data: {memory}")
    for name in net.outputs:
        info("net.cpp:249", f"This network produces output {name}")
    info("net.cpp:262", "Network initialization done.")
