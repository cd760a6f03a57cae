"""Our log beside Caffe's: the same lines, fields and numbers, for those who read logs by program."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import pytest

from demitasse.cli import main

NUMBER = re.compile(r"(?<![\w.])-?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf)(?![\w.])")
SPEED = re.compile(r"\(\S+ iter/s, \S+s/")
PREFIX = re.compile(r"[IWEF](?:\d{4})?\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ ([\w.]+):\d+\] (.*)")
RUNS = ["train_plain", "train_dns", "train_inq", "train_warmup_fork"]


def messages(text: str, start: str, files: str) -> list[str]:
    """Returns the messages from ``start`` on that come from the files (a pattern), speeds taken out."""
    found = [match.groups() for match in map(PREFIX.match, text.splitlines()) if match]
    begin = next(i for i, (_, message) in enumerate(found) if start in message)
    return [SPEED.sub("(", message) for file, message in found[begin:] if re.fullmatch(files, file)]


def assert_same(ours: list[str], theirs: list[str], rel: float | None = 1e-4) -> None:
    """Compares messages: the words exactly, the numbers to ``rel`` (None: not at all)."""
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        expected = [float(number) for number in NUMBER.findall(other)]
        found = [float(number) for number in NUMBER.findall(mine)]
        assert rel is None or found == pytest.approx(expected, rel=rel, abs=2e-6), mine


@pytest.fixture
def logged(shared, tmp_path, monkeypatch, capsys):
    """``logged(name)`` runs the command of a recorded log and returns our log and Caffe's."""

    def run(name: str) -> tuple[str, str]:
        folder = shared / "golden" / "logs"
        settings = json.loads((folder / f"{name}.json").read_text())
        command, *flags = settings["command"].split()[1:]
        monkeypatch.chdir((folder / settings["net"]).parent)
        if command == "train":
            text = (folder / f"{name}.solver.prototxt").read_text()
            solver = tmp_path / "solver.prototxt"
            solver.write_text(text.replace('"snap"', f'"{tmp_path / "snap"}"'))
            flags[0] = f"--solver={solver}"
        with pytest.raises(SystemExit) as end:
            main([command, *flags])
        ours = capsys.readouterr().err.replace(f"{tmp_path}/", "")
        assert end.value.code == 0, ours
        return ours, (folder / f"{name}.log").read_text()

    return run


@pytest.mark.parametrize("name", RUNS)
def test_training_says_the_same(logged, shared, name):
    ours, theirs = logged(name)
    for log in (ours, theirs):
        assert re.search(PREFIX.pattern.replace("(.*)", "Solving mini"), log)
    files = "(sgd_)?solver.cpp|caffe.cpp|dns_.*"
    assert_same(*(messages(log, "Starting Optimization", files) for log in (ours, theirs)))
    for kind in ("train", "test"):
        with (shared / f"golden/logs/{name}.{kind}.csv").open() as file:
            expected = [
                {key: float(value) for key, value in row.items() if key != "Seconds"} for row in csv.DictReader(file)
            ]
        found = table(ours, kind.capitalize())
        assert len(found) == len(expected)
        for row, wanted in zip(found, expected, strict=True):
            assert row == pytest.approx(wanted, rel=1e-4, abs=2e-6)


def table(text: str, kind: str) -> list[dict[str, float]]:
    """Reads a log by the rules of Caffe's parse_log.py: a row an iteration, with the rate that was shown last."""
    rows: list[dict[str, float]] = []
    iteration, rate = -1.0, math.nan
    for line in text.splitlines():
        if match := re.search(r"Iteration (\d+)", line):
            iteration = float(match[1])
        if match := re.search(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)", line):
            rate = float(match[1])
        if match := re.search(rf"{kind} net output #(\d+): (\S+) = ([\.\deE+-]+)", line):
            if match[1] == "0":
                rows.append({"NumIters": iteration, "LearningRate": rate})
            rows[-1][match[2]] = float(match[3])
    rows[0]["LearningRate"] = rows[1]["LearningRate"]
    return rows


def test_seconds_can_be_read(logged):
    """The start and the moment of a line are found as Caffe's extract_seconds.py finds them."""
    ours, _ = logged("train_plain")
    start = next(line for line in ours.splitlines() if "Solving" in line).split()
    iteration = next(line for line in ours.splitlines() if "Iteration 5 " in line).split()
    assert re.fullmatch(r"I\d{4}", start[0])
    assert [float(part) for part in start[1].split(":")] <= [float(part) for part in iteration[1].split(":")]
    assert float(start[1].split(":")[2]) != int(float(start[1].split(":")[2]))


def test_testing_says_the_same(logged):
    assert_same(*(messages(log, "Running for", "caffe.cpp") for log in logged("test")))


def test_timing_says_the_same(logged):
    lines = [messages(log, "Performing Forward", "caffe.cpp") for log in logged("time")]
    assert_same(*lines, rel=None)
    assert_same(
        *(
            [line for line in log if "Iteration:" not in line and "ms." not in line and "loss" not in line]
            for log in lines
        )
    )


def test_debug_info_says_the_same(logged):
    """Blobs that change in place show their final value here, the original the value at that moment."""
    lines = [messages(log, "Test net output #1", "net.cpp") for log in logged("debug_info")]
    last = next(i for i, line in enumerate(lines[1]) if "All net params" in line)
    lines = [[line for line in log[: last + 1] if "blob ip1 d" not in line] for log in lines]
    assert_same(*lines)


@pytest.mark.parametrize("name", RUNS)
def test_nets_are_described(logged, name):
    ours, theirs = logged(name)
    for wanted in (r"Top shape: .*", r"Creating Layer \S+", r"Setting up \S+", r"Memory required for data: \d+"):
        assert re.findall(wanted, ours) == re.findall(wanted, theirs)
    assert Path("net.prototxt").is_file()
