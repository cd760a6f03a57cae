"""The record of a stage in its folder: the settings it began with, and its result once it is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demitasse.errors import FileFormatError, UsageError, parameter
from demitasse.files import write_text

RECORD = "stage.json"
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Result:
    """The result of a stage.

    Attributes:
        name: name of the stage.
        kind: kind of the stage.
        tests: results of the test: ``loss`` in nats, ``error`` as a share.
        kept: layer -> (number of nonzero parameters, number of all parameters).
        bytes: size of the file that the stage writes.
        file: path of that file in the recipe's folder.
        seconds: wall time without tests.
        history: a record of every epoch, see :class:`demitasse.zoo.training.TrainingRun`.
        report: the method's report, as plain data.
    """

    name: str
    kind: str
    tests: Mapping[str, float]
    kept: Mapping[str, tuple[int, int]]
    bytes: int
    file: str
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)
    report: object = None


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns the record of a stage, its ``settings`` and its ``result`` (None until complete); None without a record.

    Raises:
        FileFormatError: the file is not a record, or cannot be read.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"settings": dict(record["settings"]), "result": record["result"]}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        found = f": {error}" if isinstance(error, ValueError) else "; expected settings and result"
        raise FileFormatError(
            f"{path}: not a record of a stage{found}; {parameter('restart_all', True)} runs the recipe again"
        ) from error


def write_record(folder: Path, settings: Mapping[str, object], result: Mapping[str, object] | None) -> None:
    """Writes the record of a stage: its settings, and its result or None if it is not complete."""
    write_text(folder / RECORD, json.dumps({"settings": settings, "result": result}, indent=2) + "\n")


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], place: str) -> None:
    """Checks that the settings of a stage have not changed.

    Raises:
        UsageError: a setting differs; names the first one.
    """
    before, now = ({**settings, **settings["recipe"]} for settings in (before, now))
    for key in sorted(set(before) | set(now)):
        if key != "recipe" and before.get(key) != now.get(key):
            raise UsageError(
                f"{place} was run {_said(key, before.get(key))}, but now {_said(key, now.get(key))}; "
                f"{parameter('restart_all', True)} runs the recipe again, another {parameter('out')} keeps both"
            )


def check_others(folder: Path, own: Collection[Path]) -> None:
    """Checks that a recipe's folder holds no stages but its own, such as those it had before one was inserted.

    Raises:
        UsageError: another stage left a result or a checkpoint.
    """
    for path in sorted(folder.glob(f"*/{RECORD}")):
        if path.parent not in own and not is_empty(path.parent, read_record(path.parent)):
            raise UsageError(
                f"{path.parent}: is no stage of this recipe, which had other stages when it ran before; "
                f"{parameter('restart_all', True)} runs it again, another {parameter('out')} keeps both"
            )


def is_empty(folder: Path, record: Mapping[str, Any] | None) -> bool:
    """Returns whether a stage has left neither a result nor a checkpoint, so that it may begin with other settings."""
    return record is None or (record["result"] is None and not (folder / CHECKPOINT).exists())


def _said(key: str, value: object) -> str:
    """Returns a setting in words, its value as TOML writes it."""
    if value is None:
        return f"without {key}"
    is_file = key in ("start", "teacher")
    return f"with the {key} of checksum {value}" if is_file else f"with {key} = {json.dumps(value)}"


def restart(folder: Path) -> None:
    """Removes the folders of all stages from a recipe's folder."""
    for record in folder.glob(f"*/{RECORD}"):
        shutil.rmtree(record.parent)
