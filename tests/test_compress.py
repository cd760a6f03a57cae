"""The whole of ``demitasse compress``: stages, report, recipes that start from others, the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demitasse.cli import main
from demitasse.compress import compress
from demitasse.errors import FileFormatError, UsageError
from demitasse.zoo.recipe import bundled
from tests.zoo.recipes import SMALL, same_weights

DENSE = SMALL[: SMALL.index('[[stages]]\nkind = "surgery"')]
PRUNED = 'start = "dense"\n' + DENSE.replace('kind = "train"', 'kind = "surgery"\nsparsity = 0.5')


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("small", SMALL), ("dense", DENSE), ("pruned", PRUNED)):
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def test_everything_is_written(recipes: Path) -> None:
    said: list[str] = []
    results = compress("small.toml", "out", say=said.append)
    folder = recipes / "out/small"
    assert [line.split(":")[0] for line in said] == ["train", "surgery", "quantize", "pack", "report"]
    assert {path.name for path in folder.iterdir()} == {
        *("1-train", "2-surgery", "3-quantize", "4-pack"),
        *("table.txt", "table.md", "report.json", "report.html", "training.png", "kept.png"),
    }
    report = json.loads((folder / "report.json").read_text())
    assert report["seed"] == 3
    assert report["threads"] == 1
    assert {"demitasse", "torch", "python"} <= set(report)
    assert [stage["tests"] for stage in report["stages"]] == [result.tests for result in results]
    assert report["stages"][1]["settings"]["sparsity"] == 0.9
    assert len(report["stages"][0]["history"]) == 2
    assert "| pack |" in (folder / "table.md").read_text()
    assert results[3].bytes == (folder / "4-pack/model.48.bin").stat().st_size


def test_the_recipe_that_it_starts_from_is_run_first_and_once(recipes: Path) -> None:
    said: list[str] = []
    compress("pruned.toml", "out", say=said.append)
    assert [line.split(":")[0] for line in said] == ["dense", "train", "report", "pruned", "surgery", "report"]
    said.clear()
    compress("pruned.toml", "out", restart_all=True, say=said.append)
    assert said[1] == "train: already complete"
    assert said[4].startswith("surgery: test error")
    assert (recipes / "out/dense/report.json").exists()


def test_a_start_that_is_not_there(recipes: Path) -> None:
    (recipes / "pruned.toml").write_text(PRUNED.replace('"dense"', '"dens"'))
    with pytest.raises(UsageError, match=r"pruned\.toml: start: there is no recipe 'dens'"):
        compress("pruned.toml", "out")


def test_plain_training_would_spoil_a_start_that_is_pruned(recipes: Path) -> None:
    (recipes / "more.toml").write_text('start = "pruned"\n' + DENSE)
    with pytest.raises(UsageError, match=r"more\.toml: train: would undo the effect of surgery"):
        compress("more.toml", "out")


def test_recipes_in_a_circle(recipes: Path) -> None:
    (recipes / "dense.toml").write_text(PRUNED.replace('start = "dense"', 'start = "pruned"'))
    with pytest.raises(UsageError, match=r"pruned\.toml: starts from itself, through dense\.toml"):
        compress("pruned.toml", "out")


def test_another_seed_gives_another_model(recipes: Path) -> None:
    compress("dense.toml", "first", say=lambda line: None)
    compress("dense.toml", "second", seed=4, say=lambda line: None)
    compress("dense.toml", "third", seed=3, say=lambda line: None)
    first, second, third = (recipes / name / "dense/1-train/model.pt" for name in ("first", "second", "third"))
    assert same_weights(first, third)
    assert not same_weights(first, second)


def test_text_is_measured_in_nats(recipes: Path) -> None:
    (recipes / "text.txt").write_text("abc" * 200)
    (recipes / "text.toml").write_text("""
model = { name = "gpt", width = 8, heads = 2, layers = 1, vocabulary = 3, block_size = 8 }
data = { name = "text", block = 8, batch = 4 }
stages = [{ kind = "train", epochs = 2, lr = 0.01, optimizer = "adamw" }, { kind = "pack" }]
""")
    compress("text.toml", "out", data="text.txt", say=lambda line: None)
    table = (recipes / "out/text/table.txt").read_text()
    assert "test loss (nats)" in table


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))])
def test_quick_runs_end_within_three_points_of_the_dense_net(seed: int, tmp_path: Path) -> None:
    dense, *_, packed = compress("digits_lenet", tmp_path, quick=True, seed=seed, say=lambda line: None)
    assert dense.name == "train"
    assert packed.tests["error"] <= dense.tests["error"] + 0.03 < 0.12
    assert sum(kept for kept, _ in packed.kept.values()) == pytest.approx(43_108, rel=0.01)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["compress", *arguments])
    return int(stop.value.code or 0)


def test_the_command(recipes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("small.toml", "--out", "out", "--quick", "--seed=5") == 0
    said = capsys.readouterr().out
    assert "pack: test error" in said
    assert "Tables, pictures and weights are in out/small/" in said
    assert run("small.toml", "--out", "out", "--quick", "--seed=6") == 2
    assert "was run with seed = 5, but now with seed = 6; --restart" in capsys.readouterr().err
    assert run("small.toml", "--out", "out", "--seed=6", "--quick", "--restart") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits_lenett"], "did you mean 'digits_lenet'"),
        (["none.toml"], "none.toml: cannot be read"),
        (["small.toml", "--data", "x"], "path is x; expected none, since the digits come with scikit-learn"),
        (["imports.toml"], "runs code of that module; allow it with --allow-imports"),
    ],
)
def test_wrong_use_is_said_and_exits_with_2(
    recipes: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    text = DENSE.replace('name = "lenet300"\ninputs = 64', 'import = "tests.zoo.recipes:imported_model"')
    (recipes / "imports.toml").write_text(text)
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_an_import_that_is_allowed(recipes: Path) -> None:
    text = DENSE.replace('name = "lenet300"\ninputs = 64', 'import = "tests.zoo.recipes:imported_model"')
    (recipes / "imports.toml").write_text(text)
    assert run("imports.toml", "--out", "out", "--allow-imports") == 0


OWN_DATA = """
import torch

def data(count):
    return torch.randn(count, 64), torch.arange(count) % 10
"""


def test_data_of_a_module_in_the_working_directory(recipes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipes / "own_digits.py").write_text(OWN_DATA)
    text = DENSE.replace('name = "digits"', 'import = "own_digits:data"\ncount = 200')
    (recipes / "own.toml").write_text(text)
    path = list(sys.path)
    assert run("own.toml", "--out", "out") == 2
    assert "[data]: import = 'own_digits:data' runs code of that module; allow it" in capsys.readouterr().err
    assert "own_digits" not in sys.modules
    assert run("own.toml", "--out", "out", "--allow-imports") == 0
    assert "own_digits:data: there are no test examples; 0.2 of each class" in capsys.readouterr().out
    assert sys.path == path
    report = json.loads((recipes / "out/own/report.json").read_text())
    assert report["data"]["name"] == "own_digits:data"
    with pytest.raises(SystemExit) as stop:
        main(["sensitivity", "own.toml", "--out", "out", "--allow-imports", "--only", "bits"])
    assert not stop.value.code
    assert "there are no test examples" in capsys.readouterr().out
    sys.modules.pop("own_digits")


def test_bundled_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["recipes"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(bundled())


def test_a_process_that_is_killed_goes_on(recipes: Path) -> None:
    (recipes / "small.toml").write_text(SMALL.replace("epochs = 2", "epochs = 40"))
    command = [sys.executable, "-c", "from demitasse.cli import main; main()", "compress", "small.toml", "--out"]
    killed = subprocess.Popen([*command, "killed"], stdout=subprocess.DEVNULL)
    checkpoint = recipes / "killed/small/2-surgery/checkpoint.pt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.kill()
    killed.wait()
    assert checkpoint.exists()
    compress("small.toml", "killed", say=lambda line: None)
    compress("small.toml", "whole", say=lambda line: None)
    for stage in ("1-train", "2-surgery", "3-quantize", "4-pack"):
        assert same_weights(recipes / f"killed/small/{stage}/model.pt", recipes / f"whole/small/{stage}/model.pt")


def test_a_place_for_results_that_is_none(recipes: Path) -> None:
    with pytest.raises(UsageError, match=r"^dense\.toml: is a file; expected a folder"):
        compress("dense.toml", "dense.toml")
    (recipes / "dense").write_text("")
    with pytest.raises(FileFormatError, match=r"dense/1-train/stage\.json: cannot be read: Not a directory"):
        compress("dense.toml", ".")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_of_more_than_32_bits(seed: int, recipes: Path) -> None:
    with pytest.raises(UsageError, match=rf"seed is {seed}; expected 0 to 4,294,967,295"):
        compress("dense.toml", "out", seed=seed)
    assert not (recipes / "out").exists()
