from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.errors import UsageError
from demitasse.report.log_parser import TrainingLog, read_log
from demitasse.report.log_plots import _smooth, plot_logs
from demitasse.report.style import COLOURS


def log(points: int = 30, dated: bool = True) -> TrainingLog:
    made = TrainingLog()
    for step in range(points):
        seconds = 0.5 * step if dated else float("nan")
        made.loss.add(10 * step, 2 / (step + 1), seconds)
        made.lr.add(10 * step, 0.1, seconds)
        for name, value in (("accuracy", 1 - 1 / (step + 2)), ("loss", 3 / (step + 1))):
            made.tests.setdefault(name, type(made.loss)()).add(10 * step, value, seconds)
    return made


def height(path: Path) -> int:
    with Image.open(path) as image:
        return image.height


def colours(path: Path) -> set[str]:
    with Image.open(path) as image:
        found = image.convert("RGB").getcolors(maxcolors=1 << 24)
    return {"#{:02x}{:02x}{:02x}".format(*rgb) for count, rgb in found if count > 60}


def test_several_runs(tmp_path: Path) -> None:
    plot_logs([("a", log()), ("b", log(100))], tmp_path / "runs.png")
    assert {*COLOURS[:2]} <= colours(tmp_path / "runs.png")
    plot_logs([("a", log())], tmp_path / "one.png", ["lr"])
    assert height(tmp_path / "one.png") < height(tmp_path / "runs.png")


@pytest.mark.parametrize("x", ["iterations", "seconds"])
@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("accuracy", "test accuracy"),
        ("test_loss", "test loss"),
        ("lr", "learning rate"),
        ("train_loss", "training loss"),
    ],
)
def test_the_eight_charts(tmp_path: Path, kind: str, label: str, x: str) -> None:
    plot_logs([("a", log())], tmp_path / "chart.svg", [kind], x, log_scale=True)
    assert f"<!-- {label} -->" in (tmp_path / "chart.svg").read_text()


@pytest.mark.parametrize("name", ["train_plain", "train_dns", "train_inq", "train_warmup_fork", "debug_info"])
def test_logs_of_caffe(shared: Path, tmp_path: Path, name: str) -> None:
    plot_logs([(name, read_log(shared / f"golden/logs/{name}.log"))], tmp_path / "run.png", x="seconds")
    assert COLOURS[0] in colours(tmp_path / "run.png")


def test_smoothing() -> None:
    assert _smooth(np.full(100, 3.0)) == pytest.approx(np.full(100, 3.0))
    ramp = np.arange(100.0)
    assert _smooth(ramp)[5:-5] == pytest.approx(ramp[5:-5])


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no log has 'acuracy'; did you mean 'accuracy'"):
        plot_logs([("a", log())], tmp_path / "x.png", ["acuracy"])
    with pytest.raises(UsageError, match="x is 'epochs'; expected iterations or seconds"):
        plot_logs([("a", log())], tmp_path / "x.png", x="epochs")
    with pytest.raises(UsageError, match="a: the lines have no dates"):
        plot_logs([("a", log(dated=False))], tmp_path / "x.png", x="seconds")
    with pytest.raises(UsageError, match=r"suffix: \.png, \.svg or \.pdf"):
        plot_logs([("a", log())], tmp_path / "x.txt")
    assert list(tmp_path.iterdir()) == []
