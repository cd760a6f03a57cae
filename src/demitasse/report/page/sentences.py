"""Says what a run did: its results in words, and the command that does it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from demitasse.errors import shortened, visible
from demitasse.report.page.weights import WeightView
from demitasse.report.tables import METRICS, StageResult

_KILO = 1000
_LONGEST = 400
_MOST_BROKEN = 5
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
ARROW = "\N{RIGHTWARDS ARROW}"


def results(stages: Sequence[StageResult], dense: float | None = None, compressed: bool = False) -> str:
    """Returns what changed: error, parameters and bytes.

    Args:
        stages: the stages.
        dense: the error before anything was compressed; None for that of the first stage.
        compressed: whether the first stage compresses, so that its result is not that of the dense net.
    """
    first, last = stages[0], stages[-1]
    header, metric = METRICS[last.metric]
    before = first.error if dense is None else dense
    after = f" after {first.name}" if compressed and dense is None else ""
    error = f"{metric(before)}{after} {ARROW} " if len(stages) > 1 or before != last.error else ""
    parameters = f"{last.kept:,} of {last.total:,} parameters"
    if first.kept != last.kept and not compressed:
        parameters = f"{first.kept:,} {ARROW} {last.kept:,} parameters"
    bytes_ = f"{size(first.bytes)} {ARROW} {size(last.bytes)}" if len(stages) > 1 else size(last.bytes)
    gain = smaller(first.bytes, last.bytes)
    return f"{header} {error}{metric(last.error)}, {parameters}, {bytes_}{f' ({gain})' if gain else ''}"


def smaller(before: float, after: float) -> str:
    """Returns how many times smaller a file became: 12 times smaller; nothing if it did not."""
    return f"{before / after:,.0f} times smaller" if before >= 1.5 * after else ""


def size(count: float) -> str:
    """Returns a number of bytes for people, with three digits: 1.22 kB."""
    for unit in ("bytes", "kB", "MB"):
        if float(f"{count:.3g}") < _KILO:
            return f"{count:,.3g} {unit}" if unit != "bytes" else f"{count:,.0f} {unit}"
        count /= _KILO
    return f"{count:,.3g} GB"


def percent(share: float) -> str:
    """Returns a share for people: 12.5 %; only what is all is 100 %."""
    texts = (f"{100 * share:.{digits}g}" for digits in range(3, 17))
    return f"{next((text for text in texts if text != '100' or share >= 1), '100')} %"


def broken(views: Sequence[WeightView]) -> str:
    """Returns which tensors have values that are NaN or infinite; nothing if there are none."""
    found = [view for view in views if view.broken]
    parts = [f"{view.broken:,} of {view.total:,} in {shortened(view.name)}" for view in found[:_MOST_BROKEN]]
    parts += [f"some in {len(found) - len(parts):,} more tensors"] if len(found) > len(parts) else []
    return f"Values that are not finite, and count as kept: {listed(parts)}." if parts else ""


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
