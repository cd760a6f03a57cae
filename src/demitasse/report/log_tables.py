"""The numbers of a training log as tables, equal to those of Caffe's own parser."""

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
    """Returns the tables ``train`` and ``test`` of a log, with a dict for each row."""
    return {"train": _table(log.train_rows, log.lr.values), "test": _table(log.test_rows, log.lr.values)}


def _table(rows: list[LogRow], rates: list[float]) -> Table:
    table = [
        {"NumIters": float(row.iteration), "Seconds": row.seconds, "LearningRate": row.rate} | dict(_columns(row))
        for row in rows
    ]
    # the log has no rate before the first row, which takes the rate of the next row, as in Caffe's parser
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
        folder: the folder for the tables; created if it is missing.
        delimiter: the character between columns.

    Returns:
        The files written; a net without outputs has none.

    Raises:
        FileFormatError: the log cannot be read, or is not a log of training.
        UsageError: the delimiter is not one character.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UsageError(f"the delimiter is {delimiter!r}; expected one character, not a quote or a line end")
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
