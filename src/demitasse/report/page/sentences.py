"""Says what a run did: its results in words, and the command that does it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from demitasse.errors import shortened, visible
from demitasse.report.tables import METRICS, StageResult

_KILO = 1000
_LONGEST = 400
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ARROW = "\N{RIGHTWARDS ARROW}"


def results(stages: Sequence[StageResult], dense: float | None = None) -> str:
    """Returns what changed: error, parameters and bytes.

    Args:
        stages: the stages.
        dense: the error before anything was compressed; None for that of the first stage.
    """
    first, last = stages[0], stages[-1]
    header, metric = METRICS[last.metric]
    before = first.error if dense is None else dense
    error = f"{metric(before)} {ARROW} " if len(stages) > 1 or before != last.error else ""
    parameters = f"{last.kept:,} of {last.total:,} parameters"
    if first.kept != last.kept:
        parameters = f"{first.kept:,} {ARROW} {last.kept:,} parameters"
    smaller = f"{size(first.bytes)} {ARROW} {size(last.bytes)} ({first.bytes / last.bytes:,.0f} times smaller)"
    bytes_ = smaller if len(stages) > 1 else size(last.bytes)
    return f"{header} {error}{metric(last.error)}, {parameters}, {bytes_}"


def size(count: float) -> str:
    """Returns a number of bytes for people, with three digits: 1.22 kB."""
    for unit in ("bytes", "kB", "MB"):
        if count < _KILO:
            return f"{count:,.3g} {unit}" if unit != "bytes" else f"{count:,.0f} {unit}"
        count /= _KILO
    return f"{count:,.3g} GB"


def percent(share: float) -> str:
    """Returns a share for people: 12.5 %."""
    return f"{100 * share:.3g} %"


def power(exponent: int) -> str:
    """Returns a power of two for people, with the exponent above the line."""
    return f"2{str(exponent).translate(_SUPERSCRIPT)}"


def shown(text: str) -> str:
    """Returns a text of a file for people: on one line, without control characters, and not too long."""
    return shortened(visible(text), _LONGEST)


def listed(parts: Sequence[str]) -> str:
    """Returns parts of a sentence, joined by commas and an "and"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""


def command_line(command: str, *arguments: str, **flags: object) -> str:
    """Returns a command line of demitasse, quoted for a shell.

    Args:
        command: the name of the command.
        arguments: its arguments.
        flags: name of a flag -> its value; True for a flag without one, None and False leave it out.
    """
    words = ["demitasse", command, *arguments, *_flags(flags)]
    return shlex.join(words)


def _flags(flags: Mapping[str, object]) -> list[str]:
    words = []
    for name, value in flags.items():
        if value is not None and value is not False:
            words.append("--" + name.replace("_", "-"))
            words += [] if value is True else [str(value)]
    return words
