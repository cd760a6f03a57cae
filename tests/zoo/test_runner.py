"""Running recipes: killed at any batch, a run goes on to the same bits; what is done is not done again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from demitasse.errors import (
    DataError,
    DemitasseError,
    DeviceError,
    FileFormatError,
    MethodError,
    UsageError,
    WeightsError,
)
from demitasse.formats import save
from demitasse.methods import pow2
from demitasse.packed.file import File
from demitasse.preparation import preparation_in
from demitasse.runtime import optimize
from demitasse.zoo import stages
from demitasse.zoo.data import DATASETS
from demitasse.zoo.recipe import Recipe, parse
from demitasse.zoo.records import Result, restart
from demitasse.zoo.runner import Runner, Watch
from demitasse.zoo.stages import Work
from demitasse.zoo.stages.pack import Pack
from tests.zoo.recipes import (
    SMALL,
    SMALL_CONVOLUTIONS,
    Killed,
    convolutions,
    kill_after,
    same_weights,
    weights,
    without_seconds,
)

# 2 + 2 + 2 * 1 epochs of 6 batches
BATCHES = 36


def small(**replaced: str) -> Recipe:
    text = SMALL
    for found, instead in replaced.items():
        text = text.replace(found, instead)
    return parse(text, "small", "small.toml")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Result]]:
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, Runner(small(), folder).run()


def test_the_stages_do_what_they_say(unbroken: tuple[Path, list[Result]]) -> None:
    folder, (train, surgery, quantize, pack) = unbroken
    assert train.tests["error"] < 0.3
    kept = [sum(some for some, _ in result.kept.values()) for result in (train, surgery, quantize, pack)]
    assert kept[0] > 50_000
    assert kept[1] == pytest.approx(0.1 * 50_610, rel=0.01)
    assert kept[2] == kept[3] <= kept[1]
    assert pack.tests == quantize.tests
    assert pack.bytes < train.bytes / 10
    assert same_weights(folder / "3-quantize/model.pt", folder / "4-pack/model.pt")
    for tensor in weights(folder / "4-pack/model.pt").values():
        assert (torch.frexp(tensor[tensor != 0]).mantissa.abs() == 0.5).all()
    assert [len(result.history) for result in (train, surgery, quantize, pack)] == [2, 2, 2, 0]
    assert surgery.report["sparsity"] == pytest.approx(0.9, abs=0.001)


# within each stage, on and between checkpoints, at the ends of epochs, portions and stages
@pytest.mark.parametrize("batches", [1, 5, 6, 12, 16, 24, 27, 30, 33, BATCHES])
def test_a_killed_run_goes_on_to_the_same_bits(
    unbroken: tuple[Path, list[Result]], tmp_path: Path, batches: int
) -> None:
    folder, expected = unbroken
    with pytest.raises(Killed):
        Runner(small(), tmp_path, watch=kill_after(batches)).run()
    torch.manual_seed(12345)
    found = Runner(small(), tmp_path).run()
    for name in ("1-train", "2-surgery", "3-quantize", "4-pack"):
        assert same_weights(folder / name / "model.pt", tmp_path / name / "model.pt"), name
        assert not (tmp_path / name / "checkpoint.pt").exists()
    assert without_seconds(found)[0] == without_seconds(expected)[0]
    assert [one.tests for one in found] == [one.tests for one in expected]


def test_what_is_done_is_not_done_again(unbroken: tuple[Path, list[Result]]) -> None:
    folder, expected = unbroken
    seen: list[tuple[str, bool]] = []
    watch = Watch(stage=lambda name, done: seen.append((name, done)), step=lambda run, total: pytest.fail("trained"))
    found = Runner(small(), folder, watch=watch).run()
    assert seen == [(name, True) for name in ("train", "surgery", "quantize", "pack")]
    assert [one.tests for one in found] == [one.tests for one in expected]
    assert [one.kept for one in found] == [one.kept for one in expected]


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("seed = 3", "seed = 4", "stage 'train' was run with seed = 3, but now with seed = 4; restart_all=True"),
        ("sparsity = 0.9", "sparsity = 0.8", r"'surgery' was run with sparsity = 0\.9, but now with sparsity = 0\.8"),
        ("batch = 250", "batch = 125", "stage 'train' was run with data ="),
    ],
)
def test_changed_settings_are_not_mixed(
    unbroken: tuple[Path, list[Result]], found: str, instead: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Runner(small(**{found: instead}), unbroken[0]).run()


def test_a_stage_that_left_nothing_begins_again_with_other_settings(tmp_path: Path) -> None:
    """After an error, the advice of its message can be followed in the same folder."""
    with pytest.raises(Killed):
        Runner(small(), tmp_path, watch=kill_after(1)).run()
    for left in (tmp_path / "1-train").iterdir():
        if left.name != "stage.json":
            left.unlink()
    with pytest.raises(Killed):
        Runner(small(**{"seed = 3": "seed = 4"}), tmp_path, watch=kill_after(15)).run()
    with pytest.raises(UsageError, match="was run with seed = 4, but now with seed = 3"):
        Runner(small(), tmp_path).run()


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ('[[stages]]\nkind = "surgery"', '[[stages]]\nkind = "recalibrate"\n\n[[stages]]\nkind = "surgery"'),
        ('kind = "surgery"', 'name = "cut"\nkind = "surgery"'),
    ],
)
def test_stages_of_an_earlier_version_of_the_recipe_are_not_left_beside_the_new_ones(
    unbroken: tuple[Path, list[Result]], found: str, instead: str
) -> None:
    with pytest.raises(UsageError, match=r"2-surgery: is no stage of this recipe.*restart_all=True runs it again"):
        Runner(small(**{found: instead}), unbroken[0], watch=kill_after(1)).run()


def test_a_stage_whose_weights_are_broken_runs_again_as_the_message_says(
    unbroken: tuple[Path, list[Result]], tmp_path: Path
) -> None:
    shutil.copytree(unbroken[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "3-quantize")
    weights = tmp_path / "2-surgery/model.pt"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match=r"2-surgery/model\.pt: cannot.*; delete .*2-surgery to run this stage"):
        Runner(small(), tmp_path).run()
    weights.unlink()
    with pytest.raises(FileFormatError, match=r"2-surgery/model\.pt: .*; delete .*2-surgery to run this stage"):
        Runner(small(), tmp_path).run()
    shutil.rmtree(tmp_path / "2-surgery")
    Runner(small(), tmp_path).run()
    assert same_weights(unbroken[0] / "4-pack/model.pt", tmp_path / "4-pack/model.pt")


def test_other_weights_to_start_from_are_named(unbroken: tuple[Path, list[Result]], tmp_path: Path) -> None:
    start = unbroken[0] / "1-train/model.pt"
    with pytest.raises(Killed):
        Runner(small(), tmp_path, start=start, watch=kill_after(15)).run()
    with pytest.raises(UsageError, match=r"was run with the start of checksum \w{16}, but now without start;"):
        Runner(small(), tmp_path).run()


def test_restart_removes_the_stages_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Runner(small(), tmp_path, watch=kill_after(15)).run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    restart(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", ": Expecting"),
        ("{}", "; expected settings and result; restart_all"),
        ("[]", "; expected settings and result; restart_all"),
        ('{"settings": 1, "result": null}', "; expected settings and result; restart_all"),
    ],
)
def test_a_broken_record(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(Killed):
        Runner(small(), tmp_path, watch=kill_after(1)).run()
    (tmp_path / "1-train/stage.json").write_text(content)
    with pytest.raises(FileFormatError, match=rf"stage\.json: not a record of a stage{message}.*"):
        Runner(small(), tmp_path).run()


def test_a_recipe_starts_from_weights(unbroken: tuple[Path, list[Result]], tmp_path: Path) -> None:
    text = SMALL.replace('[[stages]]\nkind = "train"\n', "")
    recipe = parse(text, "pruned", "pruned.toml")
    results = Runner(recipe, tmp_path, start=unbroken[0] / "1-train/model.pt").run()
    assert results[0].name == "surgery"
    assert results[0].history[0]["loss"] < unbroken[1][0].history[0]["loss"]


def test_weights_that_are_not_there_or_broken(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pt: there is no such file of weights"):
        Runner(small(), tmp_path, start=tmp_path / "none.pt").run()
    (tmp_path / "bad.pt").write_bytes(b"not torch")
    with pytest.raises(FileFormatError, match=r"bad\.pt: cannot be read as \.pt"):
        Runner(small(), tmp_path, start=tmp_path / "bad.pt").run()
    assert not list(tmp_path.glob("*/"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(FileFormatError, match=r"list\.pt: found a list; expected tensors by name"):
        Runner(small(), tmp_path, start=tmp_path / "list.pt").run()


@pytest.mark.parametrize(
    ("found", "instead", "message"),
    [
        ("sparsity = 0.9", "sparsity = { nothing = 0.9 }", "stage 'surgery': sparsity: 'nothing' matches no parameter"),
        ("sparsity = 0.9", 'sparsity = 0.9\nexclude = ["fc9"]', "stage 'surgery': exclude: 'fc9' matches no parameter"),
        (
            'kind = "surgery"\nsparsity = 0.9\ngamma = 0\nparameters = ["fc*", "*.bias"]',
            'kind = "magnitude"\nsparsity = 0.9\nparameters = ["a"]',
            "stage 'magnitude': parameters: 'a' matches no parameter",
        ),
        (
            'portions = [0.6, 1.0]\nparameters = ["fc*", "*.bias"]',
            'parameters = ["conv*"]',
            "stage 'quantize': parameters: 'conv\\*' matches no parameter",
        ),
        ("exponents = 7", "bits = { fc9 = 4 }", "stage 'quantize': bits: 'fc9' matches no parameter"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_before_anything_trains(
    tmp_path: Path, found: str, instead: str, message: str
) -> None:
    with pytest.raises(MethodError, match=rf"^small\.toml: {message}"):
        Runner(small(**{found: instead}), tmp_path, watch=kill_after(1)).run()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("stage", "model", "message"),
    [
        ('kind = "shrink", bits = { fc9 = 4 }', "convolutions", "bits: 'fc9' matches no parameter"),
        ('kind = "shrink", bits = 4, exclude = ["fc9"]', "convolutions", "exclude: 'fc9' matches no parameter"),
        ('kind = "rescale"', "convolutions", "the model cannot be rescaled: expected a chain of layers"),
        ('kind = "pack", format = "4/4"', "convolutions", r"1\.weight.* do not belong to a linear or convolution"),
        ('kind = "pack", graph = true', "Branching", "torch.export cannot read Branching"),
    ],
)
def test_stages_after_a_training_are_tried_before_it(tmp_path: Path, stage: str, model: str, message: str) -> None:
    text = SMALL_CONVOLUTIONS.replace('kind = "recalibrate", batches = 3', stage).replace("convolutions", model)
    with pytest.raises(DemitasseError, match=rf"^r\.toml: stage '\w+': {message}"):
        Runner(parse(text, "r", "r.toml"), tmp_path, allow_imports=True, watch=kill_after(1)).run()
    assert not list(tmp_path.iterdir())


def test_what_is_no_power_of_two_does_not_fit_the_compact_file(tmp_path: Path) -> None:
    text = SMALL[: SMALL.index('[[stages]]\nkind = "surgery"')] + '[[stages]]\nkind = "pack"\nformat = "4/4"\n'
    with pytest.raises(WeightsError, match=r"^r\.toml: stage 'pack': layer 'fc1' weight: .* values are not quantized"):
        Runner(parse(text, "r", "r.toml"), tmp_path).run()


def test_what_is_no_linear_layer_does_not_fit_either(tmp_path: Path) -> None:
    text = """
model = { name = "gpt", width = 8, heads = 2, layers = 1, vocabulary = 3, block_size = 8 }
data = { name = "text", path = "text.txt", block = 8, batch = 4 }
stages = [{ kind = "pack", format = "sparse" }]
"""
    (tmp_path / "text.txt").write_text("abc" * 100)
    recipe = parse(text, "r", "r.toml", tmp_path)
    with pytest.raises(
        WeightsError, match=r"tokens\.weight and \d+ more tensors do not belong to a linear or convolution"
    ):
        Runner(recipe, tmp_path / "out").run()


@pytest.mark.parametrize("form", ["demi", "safetensors"])
def test_tied_weights_are_packed(tmp_path: Path, form: str) -> None:
    text = """
model = { name = "gpt", width = 8, heads = 2, layers = 1, vocabulary = 3, block_size = 8, tied = true }
data = { name = "text", path = "text.txt", block = 8, batch = 4 }
stages = [{ kind = "train", epochs = 1, lr = 0.01 }, { kind = "pack", format = "FORM" }]
"""
    text = text.replace("FORM", form)
    (tmp_path / "text.txt").write_text("abc" * 100)
    train, pack = Runner(parse(text, "r", "r.toml", tmp_path), tmp_path / "out").run()
    assert pack.tests == train.tests
    assert pack.file.endswith(f"model.{form}")


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_a_demi_file_holds_every_bit(tmp_path: Path, kind: torch.dtype) -> None:
    model = convolutions()
    model.load_state_dict({name: torch.randn(tensor.shape) for name, tensor in model.state_dict().items()})
    model.to(kind)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outcome = Pack(format="demi").run(Work(model, DATASETS["digits"](None), tmp_path))
    assert outcome.file == tmp_path / "model.demi"
    assert File(outcome.file.read_bytes()).names == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_the_model_that_is_tested_comes_out_of_the_demi_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantize, packed = Runner(small(**{"4/8": "demi"}), tmp_path / "whole").run()[2:]
    assert packed.tests == quantize.tests
    assert packed.file == "4-pack/model.demi"
    assert packed.bytes < quantize.bytes / 50
    with File(tmp_path / "whole/4-pack/model.demi") as file:
        preparation = Runner(small(**{"4/8": "demi"}), tmp_path / "whole").data.preparation
        assert preparation_in(file.header.metadata) == preparation
        assert file.header.metadata.keys() == {"input"}
    monkeypatch.setattr(stages.pack, "save", lambda model, path, **texts: save(_none_of(model), path, **texts))
    assert Runner(small(**{"4/8": "demi"}), tmp_path / "empty").run()[3].tests["error"] > 0.8


def test_a_file_with_its_graph_runs_alone(tmp_path: Path) -> None:
    runner = Runner(small(**{'"4/8"': '"demi"\ngraph = true'}), tmp_path)
    error = runner.run()[3].tests["error"]
    fast = optimize(tmp_path / "4-pack/model.demi")
    counts = [(fast(images).argmax(1) != labels).sum() for images, labels in runner.data.test_batches()]
    assert float(sum(counts)) / sum(len(labels) for _, labels in runner.data.test_batches()) == pytest.approx(error)
    with pytest.raises(UsageError, match="only demi files keep a graph"):
        Runner(small(**{'"4/8"': '"4/8"\ngraph = true'}), tmp_path)


def test_zeros_of_layers_that_are_not_quantized_stay(tmp_path: Path) -> None:
    text = SMALL.replace("exponents = 7", "bits = { fc1 = 4, fc2 = 3 }").replace('format = "4/8"', "")
    text = text.replace('parameters = ["fc*", "*.bias"]\n\n[[stages]]\nkind = "pack"', '\n[[stages]]\nkind = "pack"')
    _, surgery, quantize, _ = Runner(parse(text, "r", "r.toml"), tmp_path / "whole").run()
    before, after = weights(tmp_path / "whole/2-surgery/model.pt"), weights(tmp_path / "whole/3-quantize/model.pt")
    assert not torch.equal(before["fc3.weight"], after["fc3.weight"])
    assert not after["fc3.weight"][before["fc3.weight"] == 0].any()
    assert bool(pow2.on_grid(after["fc2.weight"]).all())
    assert not pow2.on_grid(after["fc3.weight"]).all()
    assert quantize.kept["fc3"][0] <= surgery.kept["fc3"][0] + 10
    with pytest.raises(Killed):
        Runner(parse(text, "r", "r.toml"), tmp_path / "stopped", watch=kill_after(29)).run()
    Runner(parse(text, "r", "r.toml"), tmp_path / "stopped").run()
    assert same_weights(tmp_path / "whole/3-quantize/model.pt", tmp_path / "stopped/3-quantize/model.pt")


def _none_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor * 0 for name, tensor in model.state_dict().items()}


def test_an_import_must_be_allowed(tmp_path: Path) -> None:
    text = SMALL.replace('name = "lenet300"\ninputs = 64', 'import = "tests.zoo.recipes:imported_model"\nwidth = 6')
    text = text[: text.index('[[stages]]\nkind = "surgery"')]
    recipe = parse(text, "r", "r.toml")
    with pytest.raises(UsageError, match=r"\[model\]: import = 'tests\.zoo\.recipes:imported_model' runs code"):
        Runner(recipe, tmp_path)
    (result,) = Runner(recipe, tmp_path, allow_imports=True).run()
    assert result.kept["1"][1] == 65 * 6


def test_parsing_and_refusing_run_no_foreign_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_module.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    recipe = parse(SMALL.replace('name = "lenet300"\ninputs = 64', 'import = "evil_module:f"'), "r", "r.toml")
    with pytest.raises(UsageError, match="allow it with allow_imports=True"):
        Runner(recipe, tmp_path)
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:f", r"import 'no_such_module:f': No module named"),
        ("tests.zoo.recipes:nothing", r"tests\.zoo\.recipes has no function 'nothing'"),
    ],
)
def test_an_import_that_fails(tmp_path: Path, path: str, message: str) -> None:
    recipe = parse(SMALL.replace('name = "lenet300"\ninputs = 64', f'import = "{path}"'), "r", "r.toml")
    with pytest.raises(UsageError, match=message):
        Runner(recipe, tmp_path, allow_imports=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    recipe = parse('device = "cuda"\n' + SMALL, "r", "r.toml")
    with pytest.raises(DeviceError, match="device is 'cuda', but this machine has no GPU"):
        Runner(recipe, tmp_path)


def test_batch_normalization_is_measured_anew(tmp_path: Path) -> None:
    train, recalibrate = Runner(parse(SMALL_CONVOLUTIONS, "r", "r.toml"), tmp_path, allow_imports=True).run()
    before, after = weights(tmp_path / "1-train/model.pt"), weights(tmp_path / "2-recalibrate/model.pt")
    assert [name for name in before if not torch.equal(before[name], after[name])] == [
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    ]
    assert after["1.num_batches_tracked"] == 3
    assert recalibrate.tests != train.tests


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lars"])
def test_other_optimizers(tmp_path: Path, optimizer: str) -> None:
    lr = "1" if optimizer == "lars" else "0.001"
    text = SMALL[: SMALL.index('[[stages]]\nkind = "surgery"')].replace("momentum = 0.9", f'optimizer = "{optimizer}"')
    (result,) = Runner(parse(text.replace("lr = 0.1", f"lr = {lr}"), "r", "r.toml"), tmp_path).run()
    assert result.history[1]["loss"] < result.history[0]["loss"]


@pytest.mark.parametrize(
    ("found", "instead"),
    [("inputs = 64", "inputs = 784"), ("inputs = 64", "inputs = 64\nclasses = 5"), ("batch = 250", "enlarge = true")],
)
def test_a_model_that_does_not_take_the_data(tmp_path: Path, found: str, instead: str) -> None:
    with pytest.raises(UsageError, match=r"small\.toml: model 'lenet300' cannot process batches of data 'digits': "):
        Runner(small(**{found: instead}), tmp_path).run()
    assert not list(tmp_path.iterdir())


RESCALED = SMALL.replace(
    '[[stages]]\nkind = "quantize"', '[[stages]]\nkind = "rescale"\n\n[[stages]]\nkind = "quantize"'
)


def test_rescaling_changes_no_class_and_fits_the_grid(tmp_path: Path) -> None:
    _, surgery, rescale, *_ = Runner(parse(RESCALED, "r", "r.toml"), tmp_path).run()
    assert rescale.tests["error"] == surgery.tests["error"]
    assert rescale.kept == surgery.kept
    before, after = weights(tmp_path / "2-surgery/model.pt"), weights(tmp_path / "3-rescale/model.pt")
    for layer, factor in rescale.report["factors"].items():
        found, expected = after[f"{layer}.weight"], factor * before[f"{layer}.weight"]
        torch.testing.assert_close(found, expected)
        assert misfit(found) <= misfit(before[f"{layer}.weight"])


def misfit(weight: torch.Tensor) -> float:
    """The share of the squares that is lost on the best two powers of two."""
    kept = weight[weight != 0].double()
    grids = [pow2.Exponents(top - 1, top) for top in range(-8, 3)]
    return min(float((pow2.project(kept, grid) - kept).square().sum() / kept.square().sum()) for grid in grids)


def test_a_model_that_cannot_be_rescaled(tmp_path: Path) -> None:
    text = SMALL_CONVOLUTIONS.replace('{ kind = "recalibrate", batches = 3 }', '{ kind = "rescale" }')
    with pytest.raises(
        WeightsError, match=r"^r\.toml: stage 'rescale': the model cannot be rescaled: expected a chain"
    ):
        Runner(parse(text, "r", "r.toml"), tmp_path, allow_imports=True).run()
