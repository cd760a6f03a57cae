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
    with pytest.raises(FileFormatError, match="not a log of a training run"):
        write_tables(tmp_path / "notes.txt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _run(*iterations: int, start: float) -> list[str]:
    return [
        line
        for each in iterations
        for line in (
            f"I1128 12:00:00.0 7 solver.cpp:334] Iteration {each}, Testing net (#0)",
            f"I1128 12:00:00.0 7 solver.cpp:401]     Test net output #0: acc = {start + each}",
            f"I1128 12:00:00.0 7 solver.cpp:401]     Test net output #1: l = {start - each}",
            f"I1128 12:00:00.0 7 solver.cpp:222] Iteration {each}, loss = 1",
            f"I1128 12:00:00.0 7 solver.cpp:241]     Train net output #0: l = {start + 2 * each}",
        )
    ]


def test_a_second_run_in_the_same_log_has_its_own_row() -> None:
    """Caffe's parser takes a row for full once it has as many columns as the first."""
    found = tables(parse_log(_run(0, 10, start=0.5) + _run(10, 20, start=100)))
    assert [(row["NumIters"], row["acc"], row["l"]) for row in found["test"]] == [
        (0, 0.5, 0.5),
        (10, 10.5, -9.5),
        (10, 110, 90),
        (20, 120, 80),
    ]
    assert [(row["NumIters"], row["l"]) for row in found["train"]] == [(0, 0.5), (10, 20.5), (10, 120), (20, 140)]
    assert {*found["test"][2]} == {"NumIters", "Seconds", "LearningRate", "acc", "l"}


def test_a_second_run_takes_the_place_of_values_in_a_row_that_is_not_full() -> None:
    """So does Caffe's parser, which takes the first row for full when the next iteration begins."""
    first = tables(parse_log(_run(0, start=0.5) + _run(0, 10, start=100)))
    assert [(row["NumIters"], row["acc"], row["l"]) for row in first["test"]] == [(0, 100, 100), (10, 110, 90)]
    killed = tables(parse_log(_run(0, 10, start=0.5)[:7] + _run(10, start=100)))
    assert [(row["NumIters"], row["acc"], row["l"]) for row in killed["test"]] == [(0, 0.5, 0.5), (10, 110, 90)]
