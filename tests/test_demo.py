"""The demo, with a tenth of its iterations: all files are there, they belong together, and the net still works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import datasets, demo
from demitasse.caffe.models.caffemodel import read_model
from demitasse.cli import main
from demitasse.errors import UnknownNameError
from demitasse.report.log_parser import read_log


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    lines: list[str] = []
    stages = demo.run_demo(out=folder, quick=True, say=lines.append)
    assert len(lines) == len(stages) + 2  # the sizes of compact files, and the page
    return folder


def weights(path: Path) -> list[np.ndarray]:
    return [blob for layer in read_model(path) for blob in layer.blobs]


def test_stages_and_their_numbers(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    stages = {stage["name"]: stage for stage in report["stages"]}
    assert list(stages) == [
        "reference",
        "pruned (DNS)",
        *(f"INQ {portion} %" for portion in (50, 75, 90, 100)),
        "packed (4/8), unpacked",
        "packed (.demi), unpacked",
    ]
    assert all(stage["total"] == 114_760 for stage in stages.values())
    assert stages["reference"]["error"] < 0.2
    assert stages["pruned (DNS)"]["kept"] < 0.1 * 114_760
    packed = stages["packed (4/8), unpacked"]
    assert packed["bytes"] == (folder / "digits/compact_48.bin").stat().st_size
    assert packed["bytes"] < (folder / "digits/compact_44.bin").stat().st_size
    assert packed["ratio"] == stages["reference"]["bytes"] / packed["bytes"] > 20
    smaller = stages["packed (.demi), unpacked"]
    assert smaller["bytes"] == (folder / "digits/model.demi").stat().st_size < packed["bytes"] / 2
    for same in ("error", "kept"):
        assert smaller[same] == packed[same] == stages["INQ 100 %"][same]


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))])
def test_quick_runs_end_within_three_points_of_the_dense_net(seed: int, folder: Path, tmp_path: Path) -> None:
    if seed == 1:
        errors = [stage["error"] for stage in json.loads((folder / "report.json").read_text())["stages"]]
    else:
        errors = [stage.error for stage in demo.run_demo(out=tmp_path, quick=True, seed=seed, say=lambda line: None)]
    assert all(error <= errors[0] + 0.03 < 0.12 for error in errors)


def test_what_is_unpacked_is_what_was_quantized(folder: Path) -> None:
    names = ("inq_4", "decoded", "unpacked")
    quantized, decoded, unpacked = (weights(folder / f"digits/{name}.caffemodel") for name in names)
    assert all(map(np.array_equal, quantized, decoded))
    assert all(map(np.array_equal, quantized, unpacked))
    assert {0.5} >= {abs(mantissa) for blob in decoded for mantissa in np.frexp(blob[blob != 0])[0].tolist()}


def test_portions_freeze_more_and_more(folder: Path) -> None:
    frozen = [
        sum(int((mask == 0).sum()) for layer in read_model(path) for mask in layer.blobs[2:])
        for path in (
            folder / "digits/inq_raw.caffemodel",
            *(
                folder / f"digits/inq_{step}_iter_{last}.caffemodel"
                for step, last in ((1, 40), (2, 40), (3, 40), (4, 1))
            ),
        )
    ]
    assert frozen == sorted(set(frozen))
    assert frozen[-1] == 114_760


def test_logs_tables_and_pictures(folder: Path) -> None:
    assert read_log(folder / "digits/dns_train.log").loss.iterations[-1] == 240
    assert (folder / "table.md").read_text().count("\n") == 10
    assert "packed (4/8), unpacked" in (folder / "table.txt").read_text()
    for picture in ("training", "kept", "exponents"):
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_shows_the_run(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    report = json.loads((folder / "report.json").read_text())
    assert (report["model"], report["data"], report["seed"], report["quick"]) == ("LeNet", {"name": "digits"}, 1, True)
    assert list(report["logs"]) == ["reference", "pruned (DNS)", *(f"INQ {portion} %" for portion in (50, 75, 90, 100))]
    assert all((folder / path).is_file() for path in (report["file"], *report["logs"].values()))
    assert "LeNet on digits was trained with Caffe&#39;s solver, pruned by Dynamic Network Surgery" in page
    for stage in report["stages"]:
        assert stage["name"] in page


def test_again_in_the_same_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An earlier run is overwritten; the user's own files stay, and so does the number of threads."""
    monkeypatch.setattr(demo, "QUICK", 100)
    (folder / "notes.txt").write_text("mine")
    threads = torch.get_num_threads()
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--quick", "--out", str(folder)])
    assert not stop.value.code
    assert torch.get_num_threads() == threads
    assert (folder / "notes.txt").read_text() == "mine"
    assert read_log(folder / "digits/dns_train.log").loss.iterations[-1] == 20
    printed = capsys.readouterr().out
    assert (folder / "table.txt").read_text() in printed
    assert "fewer parameters, a file" in printed


def test_mnist_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    choice = demo.CHOICES["mnist"]

    def mnist(folder: Path | None) -> datasets.Dataset:
        asked.append(folder)
        raise FileNotFoundError

    monkeypatch.setattr(demo, "CHOICES", {"mnist": demo.DemoData(choice.example, choice.model, choice.prefix, mnist)})
    with pytest.raises(FileNotFoundError):
        demo.run_demo("mnist", tmp_path, mnist_folder=tmp_path / "idx")
    assert asked == [tmp_path / "idx"]
    assert choice.load is datasets.mnist


def test_unknown_data(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown data 'minst'; did you mean 'mnist'"):
        demo.run_demo("minst", tmp_path)
