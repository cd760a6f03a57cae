from __future__ import annotations

import csv
from pathlib import Path

import pytest

from demitasse.errors import FileFormatError, UsageError
from demitasse.report.log_parser import parse_log
from demitasse.report.log_tables import tables, write_tables

LINES = """
I1231 23:59:58.500000  7 solver.cpp:276] Solving net
I1231 23:59:59.500000  7 solver.cpp:334] Iteration 0, Testing net (#0)
I1231 23:59:59.600000  7 solver.cpp:401]     Test net output #0: accuracy = 0.1
I1231 23:59:59.700000  7 solver.cpp:401]     Test net output #1: each = 0.2
I1231 23:59:59.700000  7 solver.cpp:401]     Test net output #2: each = 0.3
I1231 23:59:59.750000  7 solver.cpp:334] Iteration 0, Testing net (#1)
I1231 23:59:59.800000  7 solver.cpp:401]     Test net output #0: accuracy = 0.5
I0101 00:00:00.000000  7 solver.cpp:222] Iteration 0 (0 iter/s, 0s/1 iters), loss = 2
I0101 00:00:00.100000  7 solver.cpp:241]     Train net output #0: loss = 2 (* 1 = 2 loss)
I0101 00:00:00.200000  7 sgd_solver.cpp:119] Iteration 0, lr = 1e-05
""".splitlines()

NAMES = ["debug_info", "train_plain", "train_dns", "train_inq", "train_warmup_fork"]


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_caffe(shared: Path, tmp_path: Path, name: str) -> None:
    """Byte for byte those of Caffe's parser, which leaves out a table of one row."""
    written = write_tables(shared / f"golden/logs/{name}.log", tmp_path)
    assert [path.name for path in written] == [f"{name}.log.train", f"{name}.log.test"]
    for path in written:
        golden = shared / f"golden/logs/{name}.{path.suffix[1:]}.csv"
        if golden.exists():
            assert path.read_bytes() == golden.read_bytes()
        else:
            assert len(path.read_text().splitlines()) == 2


def test_rows() -> None:
    found = tables(parse_log(LINES))
    assert found["train"] == [{"NumIters": 0, "Seconds": 1.6, "LearningRate": 1e-5, "loss": 2}]
    expected = {"NumIters": 0, "Seconds": 1.1, "LearningRate": 1e-5}
    assert found["test"] == [expected | {"accuracy": 0.1, "each[0]": 0.2, "each[1]": 0.3, "accuracy (#1)": 0.5}]


def test_delimiter(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("\n".join(LINES))
    write_tables(tmp_path / "run.log", tmp_path / "new/folder", "\t")
    with (tmp_path / "new/folder/run.log.train").open(newline="") as file:
        assert next(csv.DictReader(file, delimiter="\t"))["loss"] == "2.0"
    for delimiter in ("", ", ", "\n"):
        with pytest.raises(UsageError, match="one character"):
            write_tables(tmp_path / "run.log", tmp_path, delimiter)


def test_no_log(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FileFormatError, match="not a log of training"):
        write_tables(tmp_path / "notes.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
