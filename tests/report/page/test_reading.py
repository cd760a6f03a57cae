"""What a page is made of: runs, logs and packed files; damaged and foreign ones are refused, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import demitasse
from demitasse.cli import main
from demitasse.errors import FileFormatError, UsageError, WriteError
from demitasse.report.page.cells import tensor_table
from demitasse.report.page.page import write_page
from demitasse.report.page.reading import read_runs
from tests.report.page.runs import compress_folder


def test_a_run_of_a_recipe(tmp_path: Path) -> None:
    (run,) = read_runs([compress_folder(tmp_path, "small", allow_imports=True, source="my recipe.toml")])
    assert run.sentence.startswith(
        "lenet5 on mnist was trained for 3 epochs, pruned to 60 % zeros by Dynamic Network Surgery in 3 epochs and "
        "packed: test error 0.50 % → 1.00 %, 310 → "
    )
    assert run.command == "demitasse compress 'my recipe.toml' --seed 7 --data 'data of mine' --allow-imports"
    assert [stage.name for stage in run.stages] == ["train", "surgery", "pack"]
    assert [(stage.name, stage.steps) for stage in run.curves] == [("train", 3), ("surgery", 3)]
    assert run.curves[0].panels["test error (%)"].values == pytest.approx([10, 5, 10 / 3])
    assert (run.dense, run.reference) == (pytest.approx(0.005), pytest.approx(0.5))
    assert run.facts["seed"] == "7"
    assert {view.name: view.total for view in run.weights} == {"fc.weight": 300, "fc.bias": 10}
    assert run.file is not None
    assert run.file.size == run.stages[-1].bytes


def test_a_run_whose_file_is_of_another_format(tmp_path: Path) -> None:
    """The weights are those of the stage's model.pt; there are no bytes of tensors."""
    folder = compress_folder(tmp_path, "compact")
    report = json.loads((folder / "report.json").read_text())
    report["stages"][-1]["file"] = "3-pack/model.48.bin"
    (folder / "report.json").write_text(json.dumps(report))
    torch.save(demitasse.load(folder / "3-pack/model.demi"), folder / "3-pack/model.pt")
    (run,) = read_runs([folder])
    assert run.file is None
    assert {view.name for view in run.weights} == {"fc.weight", "fc.bias"}


def test_sensitivity_beside_a_run(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "small")
    layers = [{"name": "fc.weight", "entries": 300, "by_sparsity": {"0.5": 0.02, "0.9": 0.3}, "by_bits": {}}]
    (folder / "sensitivity.json").write_text(json.dumps({"metric": "error", "dense": 0.01, "layers": layers}))
    (run,) = read_runs([folder])
    assert [one.values for one in run.sensitivity] == [{0.5: 2.0, 0.9: 30.0}]
    assert run.unchanged == 1.0


def test_logs_of_another_program(shared: Path) -> None:
    """Those recordings have 60 or 100 iterations; their numbers are those of Caffe's own parser."""
    names = ("train_plain", "train_dns", "train_inq", "train_warmup_fork")
    runs = read_runs([shared / f"golden/logs/{name}.log" for name in names])
    assert [run.name for run in runs] == list(names)
    assert [run.facts["seed"] for run in runs] == ["11"] * 4
    assert runs[0].sentence.startswith("Training ran for 100 iterations in 0.")
    assert 'lr_policy: "multistep"' in runs[0].texts["solver"]
    for run in runs:
        table = (shared / f"golden/logs/{run.name}.test.csv").read_text().splitlines()
        column = table[0].split(",").index("accuracy")
        expected = [float(line.split(",")[column]) for line in table[1:]]
        assert run.curves[0].panels["test accuracy"].values == pytest.approx(expected)


def test_a_log_without_its_beginning(tmp_path: Path) -> None:
    (tmp_path / "short.log").write_text("Iteration 10, loss = 0.5\nIteration 20, loss = -nan\n")
    (run,) = read_runs([tmp_path / "short.log"])
    assert run.texts == {}
    assert run.facts == {}
    assert run.sentence.startswith(
        "Training ran from iteration 10 to iteration 20: the training loss went from 0.5 to "
    )
    assert write_page([tmp_path / "short.log"], tmp_path / "page.html") > 0


def test_a_packed_file(tmp_path: Path) -> None:
    state = {"w": torch.eye(4), "half": torch.ones(3, dtype=torch.bfloat16), "steps": torch.tensor(3)}
    demitasse.save(state, tmp_path / "net.demi", metadata={"note": "short", "text": "a\nb"})
    (run,) = read_runs([tmp_path / "net.demi"])
    assert run.sentence.startswith("The file holds 3 tensors with 20 values, of which 8 (40 %) are not zero, in ")
    assert {view.name for view in run.weights} == {"w", "half"}
    assert run.facts["note"] == "short"
    assert run.texts == {"text": "a\nb"}


def test_names_are_distinct(tmp_path: Path) -> None:
    folders = [compress_folder(tmp_path / part, "same") for part in "ab"]
    assert [run.name for run in read_runs(folders)] == [str(folder) for folder in folders]


def broken(changes: dict[str, Any], folder: Path) -> Path:
    return compress_folder(folder, "broken", **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": []}, r"report\.json: stages is empty; expected a stage or more"),
        ({"stages": 3}, r"report\.json: stages is 3; expected a list"),
        ({"stages": [3]}, r"report\.json: stages\[0\] is 3; expected an object"),
        ({"stages": [{"tests": {}}]}, r"report\.json: stages\[0\]: 'kept' is missing"),
        ({"title": None}, r"report\.json: title is None; expected a text"),
        ({"seed": -1}, r"report\.json: seed is -1; expected a whole number, 0 or more"),
        ({"seed": 10**400}, r"report\.json: seed is 1000.*; expected a whole number, 0 or more"),
        ({"seed": True}, r"report\.json: seed is True; expected a whole number"),
        ({"quick": 1}, r"report\.json: quick is 1; expected true or false"),
        ({"data": "mnist"}, r"report\.json: data is 'mnist'; expected an object"),
        ({"dense": {"error": float("nan")}}, r"report\.json: dense: error is nan; expected a number"),
        ({"dense": {"error": "x"}}, r"report\.json: dense: error is 'x'; expected a number"),
    ],
)
def test_damaged_reports(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=message):
        write_page([broken(changes, tmp_path)], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "file",
            "../../../etc/passwd",
            r"file is '\.\./\.\./\.\./etc/passwd'; expected a file in the folder",
        ),
        ("file", "/etc/passwd", r"file is '/etc/passwd'; expected a file in the folder of the run"),
        ("file", "a\0b", r"file is 'a\\x00b'; expected the name of a file"),
        ("file", "3-pack/gone.demi", r"gone\.demi"),
        ("kept", {"fc": [1]}, r"kept: expected pairs of counts"),
        ("kept", {"fc": [0, 0]}, r"kept: expected pairs of counts"),
        ("bytes", 0, r"bytes is 0; expected the size of a file"),
        ("history", {"a": 1}, r"history is \{'a': 1\}; expected a list"),
    ],
)
def test_damaged_stages(key: str, value: object, message: str, tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "broken")
    report = json.loads((folder / "report.json").read_text())
    report["stages"][-1][key] = value
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(FileFormatError, match=message):
        read_runs([folder])


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the keys that lead to each value inside a value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from leaves(inner, (*path, key))


def test_any_damage_ends_in_a_run_or_in_a_typed_error(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "broken")
    report = folder / "report.json"
    whole = report.read_text()
    refused: list[str] = []
    for path in leaves(json.loads(whole)):
        for value in (None, -1, "x", [], {"a": 1}, 0):
            damaged = json.loads(whole)
            place = damaged
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            report.write_text(json.dumps(damaged))
            try:
                (run,) = read_runs([folder])
            except FileFormatError as error:
                refused.append(str(error))
            else:
                assert run.stages
    assert len(refused) > 100
    assert all(str(folder) in message for message in refused)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff\xfe", "null", "3"])
def test_a_report_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FileFormatError, match=r"report\.json"):
        read_runs([tmp_path])


def test_foreign_and_missing_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    (tmp_path / "cut.demi").write_bytes(b"demi\1")
    (tmp_path / "empty").mkdir()
    for name, message in [
        (
            "notes.txt",
            r"notes\.txt: found no line 'Iteration N, .*; expected the folder of a run, a \.demi file or a log",
        ),
        ("cut.demi", r"cut\.demi"),
        (
            "empty",
            r"empty: there is no report\.json; expected the folder of a finished run of demitasse compress or demo",
        ),
        ("gone", r"gone: cannot be read"),
    ]:
        with pytest.raises(FileFormatError, match=message):
            read_runs([tmp_path / name])
    with pytest.raises(UsageError, match=r"there is nothing to report; expected folders of runs"):
        read_runs([])
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path / "gone"), "-o", str(tmp_path / "page.html")])
    assert stop.value.code == 1
    assert "gone: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_what_is_read_is_never_written(tmp_path: Path) -> None:
    """Such as the second log of ``-o *.log``."""
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("Iteration 10, loss = 0.5\n")
    page = tmp_path / "page.html"
    page.write_text("Iteration 10, loss = 0.5\n")
    with pytest.raises(UsageError, match=r"a\.log: expected a page to write, a file \.html or \.htm"):
        write_page([tmp_path / "b.log"], tmp_path / "a.log")
    with pytest.raises(UsageError, match=r"page\.html: is to be read and to be written; expected another out"):
        write_page([page], tmp_path / "." / "page.html")
    assert page.read_text() == "Iteration 10, loss = 0.5\n"
    with pytest.raises(UsageError, match=r"new\.pdf: expected a page"):
        write_page([page], tmp_path / "new.pdf")
    assert not (tmp_path / "new.pdf").exists()


def test_a_run_twice(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "same")
    with pytest.raises(UsageError, match="same: is given twice; expected every run once"):
        read_runs([folder, folder / "." / ""])


def test_a_log_of_several_runs(tmp_path: Path) -> None:
    """The first is given up and begun again, the second is stopped after its snapshot at 20, and resumed."""
    lines = [
        f"Iteration {iteration}, loss = {loss}"
        for loss, iterations in ((3, range(0, 30, 10)), (2, range(0, 50, 10)), (1, range(20, 60, 10)))
        for iteration in iterations
    ]
    (tmp_path / "all.log").write_text("\n".join(lines))
    (run,) = read_runs([tmp_path / "all.log"])
    series = run.curves[0].panels["training loss"]
    assert (series.iterations, series.values) == ([0, 10, 20, 30, 40, 50], [2, 2, 1, 1, 1, 1])
    assert run.sentence == (
        "The log holds 3 runs; iterations that several of them did are shown as the last one did them. "
        "Training ran for 50 iterations: the training loss went from 2 to 1."
    )


def test_a_run_that_goes_on_from_the_end_of_another_one(tmp_path: Path) -> None:
    """It logs the last iteration of the other one again."""
    first = ["Solving net", "Iteration 0, loss = 3", "Iteration 100, loss = 2", "Iteration 100, Testing net (#0)"]
    second = ["Restoring previous solver status from s_100", "Iteration 100, loss = 1.5", "Iteration 200, loss = 1"]
    (tmp_path / "on.log").write_text("\n".join([*first, "    Test net output #0: accuracy = 0.5", *second]))
    (run,) = read_runs([tmp_path / "on.log"])
    assert {name: (series.iterations, series.values) for name, series in run.curves[0].panels.items()} == {
        "training loss": ([0, 100, 200], [3, 1.5, 1])
    }
    assert run.sentence.startswith("The log holds 2 runs; ")


def test_a_log_with_many_outputs(tmp_path: Path) -> None:
    """The training stays, and the page says what it leaves out."""
    outputs = [f"    Test net output #{number}: o{number} = 0.{number}" for number in range(14)]
    (tmp_path / "many.log").write_text("\n".join(["Iteration 5, loss = 1", "Iteration 5, Testing net (#0)", *outputs]))
    (run,) = read_runs([tmp_path / "many.log"])
    assert [*run.curves[0].panels] == [*(f"test o{number}" for number in range(10)), "training loss"]
    assert run.sentence == (
        "Training ran to iteration 5: the training loss was 1, the last test o0 was 0, the last test o1 "
        "was 0.1, the last test o2 was 0.2 and there are 11 more test outputs. "
        "The curves of 4 test outputs are not shown."
    )


def test_a_log_with_an_output_of_several_values(tmp_path: Path) -> None:
    outputs = [f"    Test net output #{number}: prob = 0.{number}" for number in range(1, 4)]
    (tmp_path / "vector.log").write_text("\n".join(["Iteration 1, Testing net (#0)", *outputs]))
    (run,) = read_runs([tmp_path / "vector.log"])
    assert run.sentence == "Training ran for 1 iteration: the last 3 values of test prob were 0.1 to 0.3."


def test_a_log_with_losses_that_are_not_finite(tmp_path: Path) -> None:
    lines = [f"Iteration {number}, loss = {loss}" for number, loss in enumerate(("2", "1.#INF", "-1.#IND", "1"))]
    (tmp_path / "odd.log").write_text("\n".join(lines))
    (run,) = read_runs([tmp_path / "odd.log"])
    assert run.sentence == (
        "Training ran for 3 iterations: the training loss went from 2 to 1 (2 of 4 values are not finite)."
    )


def test_a_run_whose_first_stage_compresses(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "pruned")
    report = json.loads((folder / "report.json").read_text())
    first = report["stages"][1]
    del report["dense"]
    report["stages"] = report["stages"][1:]
    (folder / "report.json").write_text(json.dumps(report))
    (run,) = read_runs([folder])
    last = run.stages[-1]
    assert f"after {first['name']} \N{RIGHTWARDS ARROW} " in run.sentence
    assert f", {last.kept:,} of {last.total:,} parameters, " in run.sentence


def test_more_is_kept_than_there_is(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "odd")
    report = json.loads((folder / "report.json").read_text())
    report["stages"][-1]["kept"] = {"w": [11, 10]}
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(FileFormatError, match=r"stages\[2\]: kept: more parameters are kept than there are"):
        read_runs([folder])


def test_what_is_nearly_a_run(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "run")
    (tmp_path / "cut.demi").write_bytes(b"")
    for path, message in (
        (tmp_path, rf"expected the folder of one run, such as {folder}"),
        (folder / "report.json", rf"is a part of a run; expected its folder, {folder}"),
        (tmp_path / "cut.demi", r"cut\.demi: is not a packed file, or damaged"),
    ):
        with pytest.raises(FileFormatError, match=message):
            read_runs([path])
    (folder / "report.json").unlink()
    (folder / "1-train").mkdir(exist_ok=True)
    (folder / "1-train/stage.json").write_text("{}")
    with pytest.raises(FileFormatError, match=r"the run has not finished; run the same command again"):
        read_runs([folder])


def test_the_settings_of_a_log_are_those_of_its_last_run(shared: Path, tmp_path: Path) -> None:
    plain, other = (shared / f"golden/logs/{name}.log" for name in ("train_plain", "train_inq"))
    (tmp_path / "both.log").write_text(plain.read_text() + other.read_text())
    both, last = read_runs([tmp_path / "both.log", other])
    assert (both.facts, both.texts) == (last.facts, last.texts)
    found, expected = (
        {name: (series.iterations, series.values) for name, series in run.curves[0].panels.items()}
        for run in (both, last)
    )
    assert found == expected
    assert both.sentence.startswith("The log holds 2 runs; ")


def test_a_log_in_utf_16(tmp_path: Path) -> None:
    """As the PowerShell of Windows redirects it."""
    (tmp_path / "wide.log").write_text("Iteration 10, loss = nan\n", encoding="utf-16")
    (run,) = read_runs([tmp_path / "wide.log"])
    assert run.sentence == "Training ran to iteration 10: the training loss was never a number."


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(5).to_sparse(),
        torch.zeros(1).expand(10**6, 10**6),
        torch.empty(3, device="meta"),
    ],
    ids=["sparse", "expanded", "meta"],
)
def test_weights_that_are_not_all_in_the_file(tensor: torch.Tensor, tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "odd")
    report = json.loads((folder / "report.json").read_text())
    report["stages"][-1]["file"] = "3-pack/model.bin"
    (folder / "report.json").write_text(json.dumps(report))
    torch.save({"w": tensor}, folder / "3-pack/model.pt")
    with pytest.raises(FileFormatError, match=r"model\.pt: w: the file does not hold every value of this tensor"):
        read_runs([folder])


def test_names_in_errors_are_visible_and_short(tmp_path: Path) -> None:
    name = "a\n\N{RIGHT-TO-LEFT OVERRIDE}" + 5000 * "x"
    report = compress_folder(tmp_path, "odd") / "sensitivity.json"
    layers = [{"name": "w", "by_sparsity": {name: 0.5}, "by_bits": {}}]
    report.write_text(json.dumps({"dense": 0.1, "layers": layers}))
    with pytest.raises(FileFormatError, match=r"by_sparsity: a\\n\\u202ex.*: the key is") as caught:
        read_runs([report.parent])
    assert len(str(caught.value)) < 1000


def test_sensitivity_at_shares_of_three_digits(tmp_path: Path) -> None:
    """0.289 is not 100 * 0.289 / 100; a share that was not measured of a tensor leaves its cell empty."""
    folder = compress_folder(tmp_path, "small")
    measured = {"fc.weight": {"0.1": 0.01, "0.289": 0.02, "0.9": 0.3}, "fc.bias": {"0.289": 0.01}}
    layers = [{"name": name, "by_sparsity": values, "by_bits": {}} for name, values in measured.items()]
    (folder / "sensitivity.json").write_text(json.dumps({"dense": 0.01, "layers": layers}))
    table = tensor_table(read_runs([folder])[0])
    assert list(table.headers[-2:]) == ["test error (%) at 28.9 % zeros", "test error (%) at 90 % zeros"]
    assert [[cell.text for cell in row][-2:] for row in table.rows] == [["2", "30"], ["1", ""]]


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    log, loop = tmp_path / "x.log", tmp_path / "loop.html"
    log.write_text("Iteration 10, loss = 0.5\n")
    loop.symlink_to(loop)
    for path in (loop, tmp_path / "a\0b"):
        with pytest.raises((FileFormatError, UsageError)):
            write_page([path], tmp_path / "page.html")
    for out in (loop, tmp_path / "a\0b.html"):
        with pytest.raises((WriteError, UsageError)):
            write_page([log], out)
