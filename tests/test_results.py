"""The table of results: what a run started from, its control, and that docs/results.md shows what was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import results

PAGE = Path(__file__).parents[1] / "docs" / "results.md"


def write_run(
    folder: Path, recipe: str, start: str | None, stages: Sequence[tuple[str, Sequence[float]]], seed: int = 1
) -> str:
    """Writes what a recipe leaves, with stages of (kind, errors of the epochs); returns the last model's checksum."""
    home = folder / recipe
    checksum, written = "", []
    for number, (kind, curve) in enumerate(stages, 1):
        stage = home / f"{number}-{kind}"
        stage.mkdir(parents=True)
        content = f"{recipe} {seed} {number}".encode()
        (stage / "model.pt").write_bytes(content)
        (stage / "stage.json").write_text(json.dumps({"settings": {"recipe": {"start": start}}}))
        checksum = hashlib.sha256(content).hexdigest()[:16]
        history = [{"test_error": error, "seconds": 60.0} for error in curve]
        written.append(
            {
                "kind": kind,
                "file": f"{stage.name}/model.pt",
                "seconds": 60.0 * len(curve),
                "tests": {"error": curve[-1]},
                "kept": {"one": (1, 2), "two": (3, 8)},
                "history": history,
            }
        )
    report = {
        "recipe": recipe,
        "source": recipe,
        "seed": seed,
        "quick": False,
        "data": {"name": "mnist"},
        "stages": written,
    }
    (home / "report.json").write_text(json.dumps(report))
    return checksum


def test_changes_are_against_the_start_and_the_dense_net_trained_on_for_as_long(tmp_path: Path) -> None:
    dense = write_run(tmp_path, "lenet5_mnist", None, [("train", [0.5, 0.1])])
    write_run(tmp_path, "lenet5_mnist_longer", dense, [("train", [0.09]), ("train", [0.08, 0.07])])
    pruned = write_run(tmp_path, "lenet5_mnist_dns_90", dense, [("surgery", [0.12])])
    write_run(tmp_path, "lenet5_mnist_dns_90_inq_4", pruned, [("quantize", [0.14, 0.13])])
    write_run(tmp_path, "lenet5_mnist_dns_98", dense, [("surgery", [0.12]), ("surgery", [0.15])])
    runs = results.Runs(list(results.read(tmp_path)))
    # 98 % took two epochs, after which no control ended
    assert list(results.rows("lenet5_mnist", runs))[2:] == [
        "| `lenet5_mnist` | 2 | 2.0 | 4 (40.00 %) | 10.00 | 10.00 |  |  |",
        "| `lenet5_mnist_dns_90` | 1 | 1.0 | 4 (40.00 %) | 12.00 | 12.00 | +2.00 | +3.00 |",
        "| `lenet5_mnist_dns_98` | 2 | 2.0 | 4 (40.00 %) | 15.00 | 15.00 | +5.00 |  |",
        "| `lenet5_mnist_longer` | 3 | 3.0 | 4 (40.00 %) | 7.00 | 7.00 | -3.00 |  |",
        "| `lenet5_mnist_dns_90_inq_4` | 2 | 2.0 | 4 (40.00 %) | 13.00 | 13.00 | +1.00 | +6.00 |",
    ]


def test_seeds_stand_side_by_side_and_share_a_single_control(tmp_path: Path) -> None:
    dense = write_run(tmp_path / "1", "lenet5_mnist", None, [("train", [0.1])])
    write_run(tmp_path / "1", "lenet5_mnist_longer", dense, [("train", [0.08])])
    for seed, error in ((1, 0.12), (2, 0.15), (3, 0.11)):
        write_run(tmp_path / str(seed), "lenet5_mnist_dns_90", dense, [("surgery", [error])], seed)
    runs = results.Runs([run for seed in "123" for run in results.read(tmp_path / seed)])
    assert "| 12.00, 15.00, 11.00 | 12.00 | +2.00 | +4.00 |" in "\n".join(results.rows("lenet5_mnist", runs))


def test_runs_are_kept_in_a_file(tmp_path: Path) -> None:
    dense = write_run(tmp_path, "lenet5_mnist", None, [("train", [0.5, 0.1])])
    write_run(tmp_path, "lenet5_mnist_dns_90", dense, [("surgery", [0.12])])
    runs = results.Runs(list(results.read(tmp_path)))
    results.save(tmp_path / "runs.jsonl", runs)
    assert results.load(tmp_path / "runs.jsonl") == runs.runs


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": {"holdout": 100}}, "tested on images held out from the training set"),
        ({"quick": True}, "a quick run"),
        ({"source": "my/lenet5_mnist.toml"}, "my/lenet5_mnist.toml is not a bundled recipe of "),
        ({"recipe": "lenet", "source": "lenet"}, "lenet is not a bundled recipe of "),
        ({"recipe": None}, "not a run of demitasse compress"),
    ],
)
def test_runs_that_do_not_count_are_named(
    changes: dict[str, object], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, "lenet5_mnist", None, [("train", [0.1])])
    path = tmp_path / "lenet5_mnist" / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert not list(results.read(tmp_path))
    assert f"{path.parent}: left out, {reason}" in capsys.readouterr().err


def test_a_run_that_is_given_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "lenet5_mnist", None, [("train", [0.1])])
    store = tmp_path / "runs.jsonl"
    results.main([str(tmp_path), str(tmp_path), "--store", str(store)])
    store.write_text(2 * store.read_text())
    results.main(["--store", str(store)])
    assert capsys.readouterr().out.count("| 1 | 1.0 | 4 (40.00 %) | 10.00 | 10.00 |") == 2


@pytest.mark.parametrize("folder", ["missing", "", "full/lenet5_mnist"])
def test_a_folder_without_runs_is_refused(folder: str, tmp_path: Path) -> None:
    write_run(tmp_path / "full", "lenet5_mnist", None, [("train", [0.1])])
    with pytest.raises(SystemExit, match=r"holds no runs; expected a folder with RECIPE/report\.json"):
        results.main([str(tmp_path / folder), "--store", str(tmp_path / "runs.jsonl")])
    assert not (tmp_path / "runs.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"recipe"', r"line 2: not JSON: .*"),
        ("", r"line 2: not JSON: .*"),
        ("{}", r"line 2: 'stages' is missing"),
        ('{"stages": []}', r"line 2: stages is empty; expected a stage or more"),
        ("[1]", r"line 2 is \[1\]; expected an object"),
        ('{"stages": [{"kind": "train", "model": "a", "seconds": NaN}]}', r"line 2: stages\[0\]: seconds is nan; .*"),
    ],
)
def test_damaged_results_are_refused(line: str, message: str, tmp_path: Path) -> None:
    write_run(tmp_path, "lenet5_mnist", None, [("train", [0.1])])
    store = tmp_path / "runs.jsonl"
    results.main([str(tmp_path), "--store", str(store)])
    before = f"{store.read_text()}{line}\n"
    store.write_text(before)
    with pytest.raises(SystemExit, match=rf"^error: \S*runs\.jsonl: {message}"):
        results.main([str(tmp_path), "--store", str(store)])
    assert store.read_text() == before


def test_a_damaged_run_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "lenet5_mnist", None, [("train", [0.1])])
    (tmp_path / "lenet5_mnist/1-train/model.pt").unlink()
    with pytest.raises(SystemExit, match=r"model\.pt: there is no such file of weights"):
        results.main([str(tmp_path), "--store", str(tmp_path / "runs.jsonl")])


def test_the_page_shows_every_run_that_was_measured() -> None:
    runs = results.Runs(results.load(results.STORE))
    measured = [row for family in results.FAMILIES if runs.of(family) for row in results.rows(family, runs)]
    assert measured
    assert not set(measured) - set(PAGE.read_text(encoding="utf-8").splitlines())
