from __future__ import annotations

from pathlib import Path

import pytest

from demitasse.cli import main
from tests.report.test_log_tables import LINES


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("run.log").write_text("\n".join(LINES))
    return Path("run.log")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_parse_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("parse_log", str(log), "out", "--delimiter", ";") == 0
    assert "Wrote out/run.log.test" in capsys.readouterr().out
    assert Path("out/run.log.train").read_text().startswith("NumIters;Seconds;LearningRate;loss\n0.0;1.6;1e-05;2.0")


def test_plot_log(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("again").mkdir()
    Path("again/run.log").write_bytes(log.read_bytes())
    assert (
        run("plot_log", "run.log", "again/run.log", "runs.svg", "-show=loss,lr", "--x", "seconds", "--log_scale") == 0
    )
    text = Path("runs.svg").read_text()
    assert "<!-- again/run.log -->" in text
    assert "<!-- learning rate -->" in text
    assert "accuracy" not in text


def test_wrong_use(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plot_log", "run.log") == 2
    assert "plot_log LOG... OUT.png" in capsys.readouterr().err
    assert run("plot_log", "run.log", "run.png", "--show", "speed") == 2
    assert run("parse_log", "missing.log", "out") == 1
    assert "missing.log: cannot be read" in capsys.readouterr().err
