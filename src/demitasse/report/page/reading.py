"""Reads what a page shows: finds out what each path is, and has the reader of this room for it read it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from demitasse.errors import FileFormatError, UsageError
from demitasse.files import check_readable, is_same_file, short_names
from demitasse.packed.header import MAGIC
from demitasse.report.page.caffe_log import read_caffe_log
from demitasse.report.page.compress_run import read_compress_run
from demitasse.report.page.demo_run import read_demo_run
from demitasse.report.page.fields import Field
from demitasse.report.page.packed_file import read_packed_file
from demitasse.report.page.run import Run

REPORT = "report.json"


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Returns runs.

    Args:
        paths: folders of ``demitasse compress`` and ``demitasse demo``, .demi files, and logs of training.

    Raises:
        UsageError: there are no paths, or one is given twice.
        FileFormatError: a path is missing, damaged, or nothing of the kind.
    """
    if not paths:
        raise UsageError("there is nothing to report; expected folders of runs, .demi files or logs")
    for number, path in enumerate(paths):
        if any(is_same_file(path, earlier) for earlier in paths[:number]):
            raise UsageError(f"{path}: is given twice; expected every run once")
    return [_read(Path(path), name) for path, name in zip(paths, short_names(paths), strict=True)]


def _read(path: Path, name: str) -> Run:
    if os.path.isdir(path):
        return _read_folder(path, name)
    check_readable(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    if start == MAGIC:
        return read_packed_file(path, name)
    if path.suffix == ".demi":
        raise FileFormatError(f"{path}: is not a packed file, or damaged: it begins with {start!r}; expected {MAGIC!r}")
    if path.name == REPORT:
        raise FileFormatError(f"{path}: is a part of a run; expected its folder, {path.parent}")
    try:
        return read_caffe_log(path, name)
    except FileFormatError as error:
        raise FileFormatError(f"{error}; expected the folder of a run, a .demi file or a log") from error


def _read_folder(folder: Path, name: str) -> Run:
    if not (folder / REPORT).exists():
        if any(folder.glob("*/stage.json")):
            raise FileFormatError(
                f"{folder}: there is no {REPORT}: the run has not finished; run the same command again"
            )
        if found := sorted(folder.glob(f"*/{REPORT}")):
            raise FileFormatError(
                f"{folder}: there is no {REPORT}; expected the folder of one run, such as {found[0].parent}"
            )
        raise FileFormatError(
            f"{folder}: there is no {REPORT}; expected the folder of a finished run of demitasse compress or demo"
        )
    report = Field.of_file(folder / REPORT)
    if "recipe" in report:
        return read_compress_run(folder, report, name)
    return read_demo_run(folder, report, name)
