"""The stage shrink in recipes: alone, as a start for surgery and quantization, and with a proposal of sensitivity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from demitasse.errors import UsageError
from demitasse.methods import pow2
from demitasse.methods.proposal import Proposal
from demitasse.zoo.recipe import bundled, find_recipe, parse
from demitasse.zoo.runner import Runner
from demitasse.zoo.stages.shrink import Shrink
from tests.zoo.recipes import same_weights, weights

BASE = """
threads = 1
model = { name = "lenet300", inputs = 64 }
data = { name = "digits", batch = 100 }
training = { lr = 0.02, momentum = 0.9, epochs = 1 }
[[stages]]
kind = "train"
epochs = 3
[[stages]]
kind = "shrink"
examples = 200
grid = "pow2"
"""
ENTRIES = {"fc1.weight": 19200, "fc2.weight": 30000, "fc3.weight": 1000}


def test_quantization_and_surgery_go_on_from_it(tmp_path: Path) -> None:
    after = (
        '[[stages]]\nkind = "surgery"\nsparsity = 0.8\n[[stages]]\nkind = "quantize"\nbits = 4\nportions = [0.5, 1.0]\n'
    )
    base = BASE.replace("epochs = 1", "epochs = 2")
    recipe = parse(f"{base}sparsity = 0.6\nbits = 4\n{after}", "both", "both.toml")
    dense, shrunk, _, quantized = Runner(recipe, tmp_path).run()
    assert shrunk.kind == "shrink"
    assert shrunk.tests["error"] < dense.tests["error"] + 0.03
    assert shrunk.report["sparsity"] == pytest.approx(0.6, abs=0.05)  # type: ignore[index, call-overload]
    first, second, third = (weights(tmp_path / f"{n}/model.pt") for n in ("2-shrink", "3-surgery", "4-quantize"))
    for name in ENTRIES:
        assert pow2.on_grid(first[name]).all()
        assert not second[name][first[name] == 0].any()  # surgery keeps the zeros of a pruned layer
        assert not third[name][second[name] == 0].any()
        assert pow2.on_grid(third[name]).all()
    assert quantized.tests["error"] < dense.tests["error"] + 0.05
    assert sum(int((second[name] == 0).sum()) for name in ENTRIES) >= 0.79 * sum(ENTRIES.values())


def test_a_resumed_recipe_gives_the_same_bits(tmp_path: Path) -> None:
    recipe = parse(f"{BASE}bits = 3\n", "again", "again.toml")
    Runner(recipe, tmp_path / "once").run()
    Runner(parse(BASE.partition('[[stages]]\nkind = "shrink"')[0], "again", "again.toml"), tmp_path / "twice").run()
    Runner(recipe, tmp_path / "twice").run()
    assert same_weights(*(tmp_path / f"{each}/2-shrink/model.pt" for each in ("once", "twice")))


def test_a_proposal_gives_sparsity_and_bits(tmp_path: Path) -> None:
    def stage(proposal: Proposal, more: str = "") -> Shrink:
        proposal.save(tmp_path / "proposal.json")
        recipe = parse(f'{BASE}proposal = "proposal.json"\n{more}', "own", "own.toml", tmp_path)
        assert isinstance(recipe.stages[1], Shrink)
        return recipe.stages[1]

    both = Proposal({"fc1.weight": 0.5}, {"fc2.weight": 3}, (), 0.1, 0.1, None, 0.0, 0.0, ENTRIES)
    assert (stage(both).sparsity, stage(both).bits) == ({"fc1.weight": 0.5}, {"fc2.weight": 3})
    widths = Proposal({}, {"fc2.weight": 3}, (), 0.1, 0.1, None, 0.0, 0.0, ENTRIES)
    assert (stage(widths).sparsity, stage(widths).bits) == (None, {"fc2.weight": 3})
    with pytest.raises(UsageError, match="both proposal and bits are given"):
        stage(both, "bits = 4")
    with pytest.raises(UsageError, match=r"proposal.json proposes no sparsity and no bits"):
        stage(Proposal({}, {}, ("fc1.weight",), 0.1, 0.1, None, 0.0, 0.0, ENTRIES))


def test_the_file_is_as_small_as_was_asked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = f'{BASE}max_bytes = 36000\n[[stages]]\nkind = "pack"\n'
    *_, packed = Runner(parse(text, "size", "size.toml"), tmp_path).run()
    assert packed.bytes <= 37000  # what the file says of images and classes comes on top


def test_the_bundled_recipes_differ_from_those_without_it_by_the_stage_alone() -> None:
    for bits in (3, 4):
        plain, shrunk = (find_recipe(f"resnet20_cifar10_{name}_{bits}") for name in ("inq", "shrink_inq"))
        first, *others = shrunk.stages
        assert isinstance(first, Shrink)
        assert tuple(others) == plain.stages
    assert {"resnet20_cifar10_shrink_4", "resnet20_cifar10_shrink_50_4"} <= bundled().keys()
