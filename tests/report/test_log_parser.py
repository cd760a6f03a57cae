from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from demitasse.errors import FileFormatError
from demitasse.report.log_parser import parse_log, read_log
from demitasse.report.log_tables import tables


@pytest.mark.parametrize("name", ["train_plain", "train_dns", "train_inq", "train_warmup_fork"])
def test_logs_of_caffe(shared: Path, name: str) -> None:
    log = read_log(shared / f"golden/logs/{name}.log")
    expected = json.loads((shared / f"golden/logs/{name}.json").read_text())
    assert dict(zip(map(str, log.loss.iterations), log.loss.values, strict=True)) == expected["loss"]
    assert dict(zip(map(str, log.lr.iterations), log.lr.values, strict=True)) == expected["lr"]
    for output in ("accuracy", "loss"):
        series = log.tests[output]
        assert series.iterations == [test["iter"] for test in expected["test"]]
        assert series.values == [test["outputs"][output][0] for test in expected["test"]]


def test_further_test_nets_keep_their_number() -> None:
    log = parse_log(
        [
            "I1123 08:27:37.1 32384 solver.cpp:334] Iteration 20, Testing net (#0)",
            "I1123 08:27:37.2 32384 solver.cpp:401]     Test net output #0: accuracy = 0.75",
            "I1123 08:27:37.3 32384 solver.cpp:334] Iteration 20, Testing net (#1)",
            "I1123 08:27:37.4 32384 solver.cpp:401]     Test net output #0: accuracy = 0.5",
            "I1123 08:27:37.5 32384 solver.cpp:228] Iteration 20, loss = nan",
        ]
    )
    assert log.tests["accuracy"].values == [0.75]
    assert log.tests["accuracy (#1)"].values == [0.5]
    assert log.loss.iterations == [20]
    assert log.loss.values[0] != log.loss.values[0]


def test_not_a_log(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_log(tmp_path / "missing.log")
    (tmp_path / "notes.txt").write_text("Iteration of ideas\n")
    with pytest.raises(FileFormatError, match="not a log of a training run"):
        read_log(tmp_path / "notes.txt")


START = [
    "] Iteration 0, Testing net (#0)",
    "]     Test net output #0: accuracy = 0.25",
    "] Iteration 0, loss = 2",
    "]     Train net output #0: loss = 2 (* 1 = 2 loss)",
    "] Iteration 0, lr = 0.1",
]


@pytest.mark.parametrize("day", ["1128", "20261128"])
def test_a_log_that_begins_with_a_test(tmp_path: Path, day: str) -> None:
    path = tmp_path / "run.log"
    lines = [f"I{day} 12:00:0{index}.5 7 solver.cpp:1{line}" for index, line in enumerate(START)]
    path.write_text("\n".join(lines), encoding="utf-8")
    log = read_log(path)
    assert (log.tests["accuracy"].iterations, log.tests["accuracy"].values) == ([0], [0.25])
    assert log.tests["accuracy"].seconds == [1]
    assert (log.loss.values, log.loss.seconds) == ([2], [2])
    table = tables(log)
    assert table["test"] == [{"NumIters": 0, "Seconds": 1, "LearningRate": 0.1, "accuracy": 0.25}]
    assert table["train"] == [{"NumIters": 0, "Seconds": 3, "LearningRate": 0.1, "loss": 2}]


def test_lines_without_a_prefix_and_tests_without_a_number() -> None:
    log = parse_log([line.removeprefix("] ").replace(" (#0)", "").removeprefix("]") for line in START])
    assert (log.tests["accuracy"].iterations, log.tests["accuracy"].values) == ([0], [0.25])
    assert (log.loss.values, log.lr.values) == ([2], [0.1])


@pytest.mark.parametrize("name", ["train_plain", "train_dns"])
def test_both_kinds_of_dates_give_the_same(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / f"golden/logs/{name}.log"
    short = re.sub(r"(?m)^([IWEF])\d{4}(\d{4} )", r"\1\2", path.read_text(encoding="utf-8"))
    (tmp_path / "short.log").write_text(short, encoding="utf-8")
    assert repr(read_log(tmp_path / "short.log")) == repr(read_log(path))
