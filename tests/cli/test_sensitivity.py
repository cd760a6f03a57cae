"""The command sensitivity, on the digits that come with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demitasse.cli import main
from demitasse.zoo.trained import load_trained

RECIPE = """
title = "A little net"
[model]
name = "lenet300"
inputs = 64
[data]
name = "digits"
batch = 100
[training]
lr = 0.05
[[stages]]
kind = "train"
epochs = 1
[[stages]]
kind = "surgery"
epochs = 1
sparsity = 0.8
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "little.toml"
    path.write_text(RECIPE)
    return path


def test_table_picture_and_proposal(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compress", str(recipe)) == 0
    capsys.readouterr()
    assert run("sensitivity", str(recipe), "--batches", "1", "--sparsity", "0.5") == 0
    said = capsys.readouterr().out
    assert "[stages.sparsity]" in said
    folder = Path("compressed/little")
    plain = json.loads((folder / "sensitivity.json").read_text())
    assert (folder / "sensitivity.png").stat().st_size > 10000
    assert (folder / "sensitivity.txt").read_text() in said
    trained = load_trained(recipe)
    assert all((parameter != 0).any() for parameter in trained.model.parameters())
    assert (trained.model.get_parameter("fc1.weight") != 0).float().mean() > 0.99  # from before the surgery
    total = sum(layer["entries"] for layer in plain["layers"])
    zeros = sum(layer["entries"] * plain["sparsity"][layer["name"]] for layer in plain["layers"])
    assert zeros / total == pytest.approx(0.5, abs=1e-6)
    assert plain["dense"] == pytest.approx(trained.metric(trained.model, 1))


def test_without_trained_weights(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sensitivity", str(recipe)) == 1
    assert "there are no trained weights; run `demitasse compress" in capsys.readouterr().err
    assert run("sensitivity", str(recipe), "--weights", "none.pt") == 1
    assert "none.pt: there are no trained weights" in capsys.readouterr().err
    assert run("sensitivity", "little_typo") == 2
