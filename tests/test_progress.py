"""Progress: a line a minute where there is no terminal, a bar with a name and a total where there is one."""

from __future__ import annotations

import sys
from io import StringIO

import pytest

from demitasse import progress
from demitasse.progress import ProgressBar, tracked
from demitasse.report.progress import TrainingBar, count_bar


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBar("surgery", 6000) as bar:
        for step in range(6000):
            clock.now += 0.03
            if bar.is_due():
                bar.show(step + 1, 0.25, 0.01, sparsity=0.9, what="surgery, epoch 2 of 3")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) in (2, 3)  # three minutes
    assert lines[0].startswith("surgery, epoch 2 of 3: 2,0")
    assert " of 6,000 (33 %), loss 0.25  lr 0.01  cut 90.00%, 1 min" in lines[0]


def test_a_log_that_has_lines_of_its_own_gets_none(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("x", 5, lines=False) as bar:
        clock.now = 1000
        assert not bar.is_due()
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_stage_epoch_and_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with TrainingBar("surgery", 6000) as bar:
        assert bar.is_due()
        bar.show(1500, 0.25, 0.01, what="surgery, epoch 2 of 3")
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "surgery, epoch 2 of 3" in shown
    assert "1500/6000" in shown
    assert "loss 0.25" in shown


def test_counts_know_their_total_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with count_bar("Reading net.demi") as update:
        update(0, 60_207)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "Reading net.demi" in shown
    assert "0/60207" in shown


def test_tracked_items_are_all_there(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for item in tracked(range(300), "Converting"):
        clock.now += 1
        found.append(item)
    assert found == list(range(300))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines][:2] == ["Converting: 60 of 300", "Converting: 120 of 300"]


def test_a_closed_stderr_is_no_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressBar("x", 2) as bar:
        clock.now = 61
        bar.update(1)
