"""Lines as Caffe's logging library writes them."""

from __future__ import annotations

import logging
import math
import re

import pytest

from demitasse.caffe import log


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
