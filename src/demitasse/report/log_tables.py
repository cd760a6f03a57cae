"""The numbers of a training log as tables, the same as those of Caffe's own parser."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from demitasse.errors import UsageError
from demitasse.files import make_folder, write_text
from demitasse.report.log_parser import LogRow, TrainingLog, read_log

Table = list[dict[str, float]]


def tables(log: TrainingLog) -> dict[str, Table]:
    """Returns the tables ``train`` and ``test`` of a log, a dict a row."""
    return {"train": _table(log.train_rows, log.lr.values), "test": _table(log.test_rows, log.lr.values)}


def _table(rows: list[LogRow], rates: list[float]) -> Table:
    table = [
        {"NumIters": float(row.iteration), "Seconds": row.seconds, "LearningRate": row.rate} | dict(_columns(row))
        for row in rows
    ]
    # no rate has been shown before the first row, so it takes the next one's, as in Caffe's parser
    if len(table) > 1:
        table[0]["LearningRate"] = table[1]["LearningRate"]
    elif table and rates:
        table[0]["LearningRate"] = rates[0]
    return table


def _columns(row: LogRow) -> Iterable[tuple[str, float]]:
    for name, by_number in row.outputs.items():
        values = list(by_number.values())
        if len(values) == 1:
            yield name, values[0]
        else:
            yield from ((f"{name}[{index}]", value) for index, value in enumerate(values))


def write_tables(path: str | Path, folder: str | Path, delimiter: str = ",") -> list[Path]:
    """Writes ``<log>.train`` and ``<log>.test`` for a log file.

    Args:
        path: the log.
        folder: where the tables go; made where it is missing.
        delimiter: one character between columns.

    Returns:
        The files written; there is none for a net that showed no outputs.

    Raises:
        FileFormatError: the log cannot be read, or is of another kind.
        UsageError: the delimiter is not one character.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError(f"the delimiter must be one character, not {delimiter!r}")
    written = []
    for kind, table in tables(read_log(path)).items():
        if table:
            written.append(make_folder(folder) / f"{Path(path).name}.{kind}")
            _write(written[-1], table, delimiter)
    return written


def _write(path: Path, table: Table, delimiter: str) -> None:
    columns = list(dict.fromkeys(name for row in table for name in row))
    text = StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(table)
    write_text(path, text.getvalue())
