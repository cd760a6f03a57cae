"""What is written down of a stage: the settings it began with, and its result once it is complete."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demitasse.errors import FileFormatError, UsageError, parameter
from demitasse.files import write_text

RECORD = "stage.json"


@dataclass(frozen=True)
class Result:
    """A stage as it was measured.

    Attributes:
        name: of the stage.
        kind: of the stage.
        tests: what the test gave: ``loss`` in nats, ``error`` as a share.
        kept: layer -> parameters that are not zero, and all.
        bytes: size of the file that the stage leaves.
        file: its path in the recipe's folder.
        seconds: wall time without tests.
        history: of every epoch.
        report: of the method, as plain data.
    """

    name: str
    kind: str
    tests: Mapping[str, float]
    kept: Mapping[str, tuple[int, int]]
    bytes: int
    file: str
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)
    report: Any = None


def read_record(folder: Path) -> dict[str, Any] | None:
    """Returns what is written of a stage: its settings, and its result where it is complete.

    Raises:
        FileFormatError: the file is broken.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {"settings": dict(record["settings"]), "result": record["result"]}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"{path}: not a record of a stage ({error}); {parameter('restart_all', True)} runs the recipe anew"
        ) from error


def write_record(folder: Path, settings: Mapping[str, Any], result: Mapping[str, Any] | None) -> None:
    """Notes the settings of a stage, and its result where it is complete."""
    write_text(folder / RECORD, json.dumps({"settings": settings, "result": result}, indent=2) + "\n")


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], place: str) -> None:
    """Refuses to go on with a stage whose settings have changed.

    Raises:
        UsageError: names the first setting that differs.
    """
    before, now = ({**settings, **settings["recipe"]} for settings in (before, now))
    for key in sorted(set(before) | set(now)):
        if key != "recipe" and before.get(key) != now.get(key):
            raise UsageError(
                f"{place} was run with {key} = {before.get(key)!r}, now "
                f"it is {now.get(key)!r}; {parameter('restart_all', True)} runs the recipe anew, "
                f"another {parameter('out')} keeps both"
            )


def restart(folder: Path) -> None:
    """Removes what stages of a recipe left in its folder."""
    for record in folder.glob(f"*/{RECORD}"):
        shutil.rmtree(record.parent)
