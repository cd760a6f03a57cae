from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.report import plots
from demitasse.report.log_parser import Series, TrainingLog


def colours(path: Path) -> set[str]:
    """The colours that fill a visible part of a picture."""
    image = Image.open(path).convert("RGB")
    found = image.getcolors(maxcolors=1 << 24)
    return {"#{:02x}{:02x}{:02x}".format(*rgb) for count, rgb in found if count > 60}


def log(*errors: float) -> TrainingLog:
    steps = [10 * i for i in range(len(errors))]
    return TrainingLog(
        loss=Series(steps, list(errors)), tests={"accuracy": Series(steps, [1 - error for error in errors])}
    )


@pytest.mark.parametrize("metric", ["error", "loss"])
def test_epoch_curves(tmp_path: Path, metric: str) -> None:
    stages = [
        (name, [{"loss": value, f"test_{metric}": 1.1 * value} for value in values])
        for name, values in (("train", [0.9, 0.1, 0.05]), ("surgery", [0.06]))
    ]
    plots.epoch_curves(stages, tmp_path / "curves.png", metric)
    assert {*plots.COLOURS[:2]} <= colours(tmp_path / "curves.png")


def test_losses_that_are_all_zero(tmp_path: Path) -> None:
    # a net that only learns from itself has no loss, which no logarithm can show
    plots.epoch_curves([("train", [{"loss": 0.0, "test_error": 0.1}] * 2)], tmp_path / "curves.png")
    assert plots.COLOURS[0] in colours(tmp_path / "curves.png")


def test_training_curves(tmp_path: Path) -> None:
    runs = [
        ("reference", log(0.9, 0.1, 0.05)),
        ("pruned", log(0.06, 0.04)),
        ("untested", TrainingLog(Series([0], [0.1]))),
    ]
    plots.training_curves(runs, tmp_path / "curves.png")
    assert {*plots.COLOURS[:2]} <= colours(tmp_path / "curves.png")


def test_kept_by_layer(tmp_path: Path) -> None:
    plots.kept_by_layer({"conv1": (10, 20), "ip1": (0, 300)}, tmp_path / "kept.png")
    assert {*plots.COLOURS[:2]} <= colours(tmp_path / "kept.png")


def test_exponents(tmp_path: Path) -> None:
    weights = {"conv1": np.array([[0.5, -0.25], [0.0, 0.5]]), "ip1": np.array([-1.0, -1.0, 0.125]), "ip2": np.zeros(3)}
    plots.exponent_histogram(weights, tmp_path / "exponents.png")
    assert {*plots.COLOURS[:2]} <= colours(tmp_path / "exponents.png")


def test_a_net_without_weights_is_drawn_too(tmp_path: Path) -> None:
    plots.exponent_histogram({"conv1": np.zeros(2)}, tmp_path / "exponents.svg")
    plots.kept_by_layer({"conv1": (0, 2)}, tmp_path / "kept.svg")
    assert (tmp_path / "kept.svg").stat().st_size > 1000


@pytest.mark.parametrize("value", [2.0, 2.0**-30, 2.0**60])
def test_exact_exponents(value: float) -> None:
    up, down = plots._count(np.array([value, -value, -value, 0]))
    assert list(up.values()) == [1]
    assert list(down.values()) == [2]
    assert 2.0 ** next(iter(up)) == value
