"""The command sensitivity, on the digits that come with scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demitasse.cli import main
from demitasse.methods.proposal import Proposal
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
    assert 'proposal = "compressed/little/proposal.json"' in said
    folder = Path("compressed/little")
    plain = json.loads((folder / "sensitivity.json").read_text())
    assert (folder / "sensitivity.png").stat().st_size > 10000
    assert (folder / "sensitivity.txt").read_text() in said
    trained = load_trained(recipe)
    assert all((parameter != 0).any() for parameter in trained.model.parameters())
    assert (trained.model.get_parameter("fc1.weight") != 0).float().mean() > 0.99  # from before the surgery
    proposal = Proposal.load(folder / "proposal.json")
    assert proposal.total_sparsity == pytest.approx(0.5, abs=1e-6)
    assert proposal.bits
    assert plain["dense"] == proposal.dense == pytest.approx(trained.metric(trained.model, 1))


def test_the_proposal_meets_the_tolerance_and_a_recipe_uses_it(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compress", str(recipe)) == 0
    assert run("sensitivity", str(recipe), "--tolerance", "0.02", "--only", "bits", "--proposal", "bits.json") == 0
    assert "tolerance: 0.02; solved tolerance of each layer: " in capsys.readouterr().out
    proposal = Proposal.load("bits.json")
    assert not proposal.sparsity
    assert proposal.metric <= proposal.dense + 0.02
    text = RECIPE.replace('kind = "surgery"', 'kind = "quantize"').replace("sparsity = 0.8", 'proposal = "bits.json"')
    recipe.with_name("second.toml").write_text(text)
    assert run("compress", "second.toml") == 0
    trained = load_trained("second.toml", weights="compressed/second/2-quantize/model.pt")
    for name, bits in proposal.bits.items():
        assert len(trained.model.get_parameter(name).detach().unique()) <= 2 ** (bits - 1) + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tolerance", "0.1", "--sparsity", "0.5"], "both --tolerance and --sparsity are given"),
        (["--only", "both"], "--only is 'both'; expected 'sparsity' or 'bits'"),
        (["--only", "bits", "--sparsity", "0.5"], "both --only bits and --sparsity are given"),
        (["--sparsity", "0.99"], "0.99"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sensitivity", str(recipe), *arguments) == 2
    assert message in capsys.readouterr().err


def test_without_trained_weights(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sensitivity", str(recipe)) == 1
    assert "there are no trained weights; run `demitasse compress" in capsys.readouterr().err
    assert run("sensitivity", str(recipe), "--weights", "none.pt") == 1
    assert "none.pt: there are no trained weights" in capsys.readouterr().err
    assert run("sensitivity", "little_typo") == 2
