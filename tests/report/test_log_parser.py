from __future__ import annotations

import json
from pathlib import Path

import pytest

from demitasse.errors import FileFormatError
from demitasse.report.log_parser import parse_log, read_log


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
    with pytest.raises(FileFormatError, match="not a log of training"):
        read_log(tmp_path / "notes.txt")
