"""Proposals as files, and in recipes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demitasse.errors import DataError, FileFormatError, UsageError
from demitasse.methods.proposal import Proposal
from demitasse.zoo.recipe import find_recipe
from demitasse.zoo.stages.prune import SurgeryStage
from demitasse.zoo.stages.quantize import Quantize

FOUND = Proposal(
    {"fc1.weight": 0.5, "fc2.weight": 0.0}, {"fc1.weight": 3}, ("fc2.weight",), 0.1, 0.105, 0.005, 0.002, 0.0,
    {"fc1.weight": 300, "fc2.weight": 100},
)  # fmt: skip


def test_a_file_holds_all(tmp_path: Path) -> None:
    for found in (FOUND, replace(FOUND, tolerance=None, metric=float("inf"))):
        found.save(tmp_path / "proposal.json")
        assert Proposal.load(tmp_path / "proposal.json") == found
    assert FOUND.total_sparsity == 0.375


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"sparsity": {"fc1.weight": 1.5}}, r"sparsity of fc1\.weight is 1\.5; expected a share from 0 to 1"),
    ({"sparsity": [0.5]}, r"sparsity is \[0\.5\]; expected a mapping"),
    ({"sparsity": {"fc9.weight": 0.5}}, r"sparsity has 'fc9\.weight', which entries lacks"),
    ({"bits": {"fc1.weight": 1}}, "1 bits cannot hold a sign"),
    ({"bits": {"fc1.weight": 4.5}}, r"bits of fc1\.weight is 4\.5; expected a whole number"),
    ({"entries": {}, "sparsity": {}, "bits": {}, "unquantized": []}, "entries is empty"),
    ({"unquantized": ["fc9.weight"]}, "unquantized is .*; expected names that entries has"),
    ({"unquantized": 5}, "unquantized is 5; expected a list"),
    ({"metric": "low"}, "metric is 'low'; expected a number"),
    ({"dense": None}, "dense is None; expected a number"),
    ({"tolerance": -1}, "tolerance is -1; expected 0 or more"),
    ({"eased": 2}, "eased is 2; expected a share"),
    ({"more": 1}, "not a proposal of sensitivity: found sparsity"),
]


@pytest.mark.parametrize(("changed", "message"), CHANGES, ids=[str(changed) for changed, _ in CHANGES])
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / "proposal.json"
    path.write_text(json.dumps({**FOUND.as_plain(), **changed}))
    with pytest.raises(FileFormatError, match=rf"proposal\.json: {message}"):
        Proposal.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "[" * 100_000, "\xff"])
def test_what_is_no_proposal(tmp_path: Path, text: str) -> None:
    path = tmp_path / "proposal.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"proposal\.json: not a proposal of sensitivity"):
        Proposal.load(path)
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        Proposal.load(tmp_path / "none.json")


RECIPE = """
model = { name = "lenet300", inputs = 64 }
data = { name = "digits" }
training = { epochs = 1, lr = 0.1 }
[[stages]]
kind = "surgery"
proposal = "found/proposal.json"
[[stages]]
kind = "quantize"
proposal = "found/proposal.json"
"""


def written(folder: Path, text: str = RECIPE, proposal: Proposal = FOUND) -> Path:
    (folder / "found").mkdir()
    proposal.save(folder / "found/proposal.json")
    (folder / "r.toml").write_text(text)
    return folder / "r.toml"


def test_a_recipe_takes_a_proposal(tmp_path: Path) -> None:
    surgery, quantize = find_recipe(written(tmp_path)).stages
    assert isinstance(surgery, SurgeryStage)
    assert isinstance(quantize, Quantize)
    assert surgery.sparsity == FOUND.sparsity
    assert quantize.bits == FOUND.bits


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ('"surgery"', '"surgery"\nsparsity = 0.5', r"\[\[stages\]\] 1 \(surgery\): both proposal and sparsity"),
        ('"quantize"', '"quantize"\nbits = 4', r"\[\[stages\]\] 2 \(quantize\): both proposal and bits"),
        ('"quantize"', '"recalibrate"', r"unknown key 'proposal'"),
        ("found/prop", "lost/prop", r"\(surgery\): proposal: .*lost/proposal\.json: cannot be read"),
        ('"found/proposal.json"', "5", r"\(surgery\): proposal is 5; expected a text in quotes"),
    ],
)
def test_a_recipe_that_does_not_take_it(tmp_path: Path, found: str, instead: str, message: str) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        find_recipe(written(tmp_path, RECIPE.replace(found, instead)))


def test_a_recipe_needs_what_is_proposed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\(quantize\): proposal .*proposal\.json proposes no bits"):
        find_recipe(written(tmp_path, proposal=replace(FOUND, bits={}, unquantized=())))
