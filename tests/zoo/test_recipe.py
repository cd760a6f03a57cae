"""Recipes: what is valid is read into plain data, what is not is named with file, table and key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from demitasse.errors import UsageError
from demitasse.zoo.recipe import bundled, find_recipe, parse
from demitasse.zoo.stages.prune import SurgeryStage
from demitasse.zoo.stages.train import Train
from tests.zoo.recipes import SMALL


def test_a_recipe_is_plain_data() -> None:
    recipe = parse(SMALL, "small", "small.toml")
    assert recipe.seed == 3
    assert recipe.model.settings == {"inputs": 64}
    assert recipe.stage_names == ("train", "surgery", "quantize", "pack")
    train, surgery, *_ = recipe.stages
    assert train == Train(epochs=2, lr=0.1, momentum=0.9)
    assert isinstance(surgery, SurgeryStage)
    assert surgery.sparsity == 0.9
    assert isinstance(surgery.gamma, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 4  # type: ignore[misc]


def test_stages_of_one_kind_are_numbered() -> None:
    text = SMALL.replace('kind = "quantize"', 'kind = "pack"\n[[stages]]\nkind = "quantize"').replace(
        'kind = "surgery"', 'kind = "surgery"\nname = "cut"'
    )
    assert parse(text, "r", "r.toml").stage_names == ("train", "cut", "pack", "quantize", "pack #2")


def test_quick_takes_a_tenth_of_the_epochs() -> None:
    recipe = parse(SMALL.replace("epochs = 2", "epochs = 40"), "r", "r.toml").quick()
    assert [getattr(stage, "epochs", None) for stage in recipe.stages] == [4, 4, 1, None]


def test_quick_asks_for_what_so_few_epochs_can_reach() -> None:
    """The share that is kept becomes its square root, and thresholds are lower."""
    targets = 'sparsity = { "fc1" = 0.99, "fc*" = 0.96 }'
    surgery = parse(SMALL.replace("sparsity = 0.9", targets), "r", "r.toml").quick().stages[1]
    assert isinstance(surgery, SurgeryStage)
    assert surgery.sparsity == pytest.approx({"fc1": 0.9, "fc*": 0.8})
    assert surgery.c_rate is None
    surgery = parse(SMALL.replace("sparsity = 0.9", "c_rate = 2.0"), "r", "r.toml").quick().stages[1]
    assert isinstance(surgery, SurgeryStage)
    assert surgery.sparsity is None
    assert surgery.c_rate == pytest.approx(1.2)


def test_sparsity_by_name() -> None:
    text = SMALL.replace("sparsity = 0.9", 'sparsity = { "fc1" = 0.95, "fc*" = 0.5 }')
    surgery = parse(text, "r", "r.toml").stages[1]
    assert isinstance(surgery, SurgeryStage)
    assert surgery.sparsity == {"fc1": 0.95, "fc*": 0.5}


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("seed = 3", "sed = 3", r"r\.toml: unknown key 'sed'; did you mean 'seed'"),
        ("seed = 3", "seed = ", r"r\.toml: not TOML: .*line 2"),
        ("seed = 3", "seed = 1.5", r"r\.toml: seed is 1\.5; expected a whole number"),
        ("seed = 3", "seed = true", r"r\.toml: seed is True; expected a whole number"),
        (
            "seed = 3",
            "seed = 18446744073709551616",
            r"r\.toml: seed is 18446744073709551616; expected 0 to 4,294,967,295",
        ),
        ("seed = 3", "seed = -1", r"r\.toml: seed is -1; expected 0 or more"),
        ("threads = 1", "threads = 100000", r"r\.toml: threads is 100000; expected at most 1024"),
        ("seed = 3", 'device = "gpu"', r"r\.toml: device is 'gpu'; expected 'auto', 'cpu' or 'cuda'"),
        ("seed = 3", 'start = "a"\nweights = "b"', r"r\.toml: both start and weights are given; expected one of them"),
        ('name = "lenet300"', 'name = "lenet30"', r"r\.toml: \[model\]: name is 'lenet30'; did you mean 'lenet300'"),
        ('name = "lenet300"', "name = 5", r"r\.toml: \[model\]: name is 5; expected a text in quotes"),
        ('name = "lenet300"', "", r"r\.toml: \[model\]: expected name or import"),
        ('name = "lenet300"', 'import = "a.b"', r"\[model\]: import is 'a\.b'; expected 'package\.module:function'"),
        ("inputs = 64", "input = 64", r"r\.toml: \[model\]: unknown key 'input'; did you mean 'inputs'"),
        ("inputs = 64", 'inputs = "64"', r"r\.toml: \[model\]: inputs is '64'; expected a whole number"),
        ('name = "digits"', 'name = "digit"', r"r\.toml: \[data\]: name is 'digit'; did you mean 'digits'"),
        ('name = "digits"', "", r"r\.toml: \[data\]: expected name"),
        ("batch = 250", "bach = 250", r"r\.toml: \[data\]: unknown key 'bach'; did you mean 'batch'"),
        ("[data]", "[dat]", r"r\.toml: unknown key 'dat'; did you mean 'data'"),
        ("[training]", "[[training]]", r"r\.toml: \[training\] is \[.*\]; expected a table"),
        ("momentum = 0.9", "momentun = 0.9", r"r\.toml: \[training\]: unknown key 'momentun'; did you mean 'momentum'"),
        ("momentum = 0.9", "sparsity = 0.9", r"r\.toml: \[training\]: unknown key 'sparsity'"),
        ("lr = 0.1", "", r"r\.toml: \[\[stages\]\] 1 \(train\): lr is missing"),
        ("lr = 0.1", 'lr = "0.1"', r"\[\[stages\]\] 1 \(train\): lr is '0\.1'; expected a number"),
        ("lr = 0.1", "lr = -1", r"\(train\): lr is -1; expected 0 or more"),
        ("epochs = 2", "epochs = 0", r"\(train\): epochs is 0; expected 1 or more"),
        ("epochs = 2", 'epochs = 2\noptimizer = "adan"', r"\(train\): optimizer is 'adan'; did you mean 'adam'"),
        ("epochs = 2", 'epochs = 2\noptimizer = "adam"', r"\(train\): optimizer adam has no momentum"),
        ("momentum = 0.9", "nesterov = true", r"\(train\): nesterov is true, but momentum is missing"),
        ("momentum = 0.9", "momentum = 9", r"\(train\): momentum is 9; expected a share from 0 to 1"),
        ("momentum = 0.9", 'optimizer = "adam"\nbetas = [0.9]', r"betas is \[0\.9\]; expected two numbers"),
        ("epochs = 2", 'epochs = 2\nschedule = "cos"', r"\(train\): schedule is 'cos'; "),
        ("epochs = 2", "epochs = 2\nwarmup = 2", r"\(train\): warmup is 2; expected a share from 0 to 1"),
        ('kind = "train"', 'kind = "trian"', r"\[\[stages\]\] 1: kind is 'trian'; did you mean 'train'"),
        ('kind = "train"', "", r"\[\[stages\]\] 1: kind is None; expected a text in quotes"),
        ('kind = "train"', 'kind = "train"\nname = "a/b"', r"\(train\): name is 'a/b'; expected a name without"),
        ('kind = "pack"', 'kind = "train"', r"4 \(train\): unknown key 'format'"),
        ('kind = "pack"\nformat = "4/8"', 'kind = "train"', r"4 \(train\): would undo the effect of quantize"),
        ("sparsity = 0.9", "", r"2 \(surgery\): expected one of sparsity and c_rate"),
        ("sparsity = 0.9", "sparsity = 90", r"2 \(surgery\): sparsity is 90; expected a share from 0 to 1"),
        (
            "sparsity = 0.9",
            "sparsity = [0.9]",
            r"sparsity is \[0\.9\]; expected a number or a table, each value a number",
        ),
        ("sparsity = 0.9", 'sparsity = 0.9\nscope = "all"', r"scope is 'all'; expected 'global' or 'layer'"),
        ("sparsity = 0.9", "sparsity = 0.9\nstop = 0.4", r"stop is 0\.4; expected more than begin \+ ramp"),
        ("gamma = 0", "gama = 0", r"2 \(surgery\): unknown key 'gama'; did you mean 'gamma'"),
        ("exponents = 7", "", r"3 \(quantize\): expected one of bits and exponents"),
        ("exponents = 7", "exponents = [1, 2, 3]", r"exponents is \[1, 2, 3\]; expected the smallest and the largest"),
        ("exponents = 7", 'exponents = 7\nper = "layer"', r"per is 'layer'; expected 'tensor' or 'channel'"),
        ("portions = [0.6, 1.0]", "portions = [1.0, 0.5]", r"portions is \[1\.0, 0\.5\]; expected increasing shares"),
        ("portions = [0.6, 1.0]", "portions = [60]", r"portions is 60; expected a share from 0 to 1"),
        ("portions = [0.6, 1.0]", 'portions = ["a"]', r"portions\[0\] is 'a'; expected a number"),
        ('format = "4/8"', 'format = "4/9"', r"4 \(pack\): format is '4/9'; did you mean '4/"),
        ('kind = "pack"\nformat = "4/8"', 'kind = "recalibrate"\nbatches = 0', r"batches is 0; expected 1 or more"),
        ('kind = "pack"\nformat = "4/8"', 'kind = "rescale"', r"4 \(rescale\): comes after quantize"),
        (
            'kind = "pack"\nformat = "4/8"',
            'kind = "magnitude"\nsparsity = 0.9',
            r"comes after quantize, which freezes all weights",
        ),
    ],
)
def test_what_is_wrong_is_named(found: str, instead: str, message: str) -> None:
    assert found in SMALL
    with pytest.raises(UsageError, match=message):
        parse(SMALL.replace(found, instead, 1), "r", "r.toml")


@pytest.mark.parametrize("text", ["", 'stages = "train"', "stages = []"])
def test_without_stages(text: str) -> None:
    with pytest.raises(UsageError, match=r"model is missing|stages is .*; expected tables"):
        parse(f"{text}\n[model]\nname = 'lenet5'\n[data]\nname = 'digits'" if text else "", "r", "r.toml")


def test_a_file_is_found_by_its_path_and_paths_in_it_start_at_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'weights = "start.pt"\n{SMALL}'.replace('name = "digits"', 'name = "mnist"\npath = "images"'))
    recipe = find_recipe(path)
    assert recipe.name == "mine"
    assert not recipe.is_bundled
    assert recipe.weights == tmp_path / "start.pt"
    assert recipe.data.path == tmp_path / "images"


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read: No such file"):
        find_recipe(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"no recipe 'digits_lent'.*did you mean 'digits_lenet'"):
        find_recipe("digits_lent")
    (tmp_path / "bad.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(UsageError, match=r"bad\.toml: byte 5: not UTF-8"):
        find_recipe(tmp_path / "bad.toml")


def test_a_recipe_saved_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As the Notepad of Windows may save it."""
    (tmp_path / "mine.toml").write_text(bundled()["lenet300_mnist"], encoding="utf-8-sig")
    assert find_recipe(tmp_path / "mine.toml").model == find_recipe("lenet300_mnist").model


@pytest.mark.parametrize("name", bundled())
def test_bundled_recipes_are_valid(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.is_bundled
    assert recipe.title
    assert not recipe.start or recipe.start in bundled()
    assert recipe.quick().stages


def test_the_recipe_of_the_documentation_is_valid() -> None:
    page = (Path(__file__).parents[2] / "docs/recipes.md").read_text(encoding="utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    assert parse(text, "small", "recipes.md").stage_names == ("train", "surgery", "quantize", "pack")
