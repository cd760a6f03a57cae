"""Lines as Caffe's logging library writes them."""

from __future__ import annotations

import logging
import math
import re
from datetime import datetime, timedelta

import pytest
import torch

from demitasse.caffe import log, net_log
from demitasse.caffe.net import Net
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.caffe.training import debug, scoring
from demitasse.report.log_parser import read_log


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2150664, "0.215066"),
        (1.0, "1"),
        (1e-05, "1e-05"),
        (0.00012345678, "0.000123457"),
        (1234567.0, "1.23457e+06"),
        (87.33654, "87.3365"),
        (-0.0, "-0"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_six_significant_digits(value, text):
    assert log.number(value) == text


def test_lines_carry_severity_moment_thread_and_place(capsys):
    with log.to_stderr():
        log.info("solver.cpp:222", "Iteration 0, loss = 1")
        log.warning("solver.cpp:480", "look out")
    lines = capsys.readouterr().err.splitlines()
    prefix = r"\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ "
    assert re.fullmatch("I" + prefix + r"solver\.cpp:222\] Iteration 0, loss = 1", lines[0])
    assert re.fullmatch("W" + prefix + r"solver\.cpp:480\] look out", lines[1])


def test_lines_of_other_code_carry_their_own_place(capsys):
    with log.to_stderr():
        logging.getLogger("demitasse.caffe").info("plain")
    assert re.search(r"test_log\.py:\d+\] plain$", capsys.readouterr().err.strip())


def test_a_folder_gets_a_copy(tmp_path, capsys):
    with log.to_stderr(tmp_path / "logs"):
        log.info("caffe.cpp:1", "twice")
    (copy,) = (tmp_path / "logs").iterdir()
    assert copy.read_text() == capsys.readouterr().err
    assert "caffe.cpp:1] twice" in copy.read_text()


def test_nothing_is_left_behind():
    before = list(log.LOGGER.handlers), log.LOGGER.level
    with log.to_stderr():
        pass
    assert (list(log.LOGGER.handlers), log.LOGGER.level) == before


def test_the_top_of_a_loss_without_one_is_called_automatic(capsys):
    net = Net(
        parse(
            'layer { name: "in" type: "DummyData" top: "x" top: "t" '
            "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 3 } } }"
            'layer { name: "one" type: "EuclideanLoss" bottom: "x" bottom: "t" }'
            'layer { name: "two" type: "EuclideanLoss" bottom: "x" bottom: "t" loss_weight: 0.5 }',
            NetParameter(),
            "net",
        )
    )
    with log.to_stderr():
        net_log.describe(net)
        debug.log_forward(net, net(scoring.next_batch(net, torch.device("cpu")), net.shapes))
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert "one -> (automatic)" in lines
    assert "two -> (automatic)" in lines
    assert [line.split(":")[0] for line in lines if "top blob (automatic)" in line] == [
        f"    [Forward] Layer {name}, top blob (automatic) data" for name in ("one", "two")
    ]


def seconds_of_caffe(path, year):
    """The seconds of all lines with 'Iteration' since the first with 'Solving', by the rules of extract_seconds.py."""
    lines = [line.split() for line in path.read_text().splitlines()]

    def moment(words, year):
        clock, _, fraction = words[1].rpartition(".")
        return datetime(year, int(words[0][1:3]), int(words[0][3:]), *map(int, clock.split(":")), int(fraction))

    start = last = moment(next(words for words in lines if "Solving" in words), year)
    seconds = []
    for words in (words for words in lines if "Iteration" in words):
        now = moment(words, year)
        if now.month < last.month:
            year += 1
            now = moment(words, year)
        last = now
        seconds.append((now - start).total_seconds())
    return seconds


@pytest.mark.parametrize("first", [datetime(2026, 11, 28, 12), datetime(2025, 12, 31, 23, 59, 58)])
def test_programs_that_read_logs_of_caffe_find_the_seconds(tmp_path, first):
    path = tmp_path / "run.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    with log.attached(handler):
        for second, text in enumerate(
            ["Solving net", "Iteration 0, loss = 3", "Iteration 1, loss = 2", "Iteration 2, lr = 1"]
        ):
            record = logging.makeLogRecord(
                {"msg": text, "levelno": logging.INFO, "levelname": "INFO", "caffe": "solver.cpp:1"}
            )
            record.created = (first + timedelta(seconds=1.25 * second)).timestamp()
            log.LOGGER.handle(record)
    assert path.read_text(encoding="utf-8").splitlines()[0].startswith(f"I{first:%m%d %H:%M:%S}.000000 ")
    assert seconds_of_caffe(path, first.year) == [1.25, 2.5, 3.75]
    assert read_log(path).loss.seconds == [1.25, 2.5]
