"""The page as a file: it needs nothing else, is small, shows all runs, and takes texts of files as texts."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import demitasse
from demitasse.cli import main
from demitasse.errors import UsageError
from demitasse.report.page import page
from demitasse.report.page.page import LARGEST_PAGE, write_page
from demitasse.report.page.sentences import percent, shown, size
from tests.report.page.runs import compress_folder, hostile_file

VOID = {"meta", "link", "img", "br"}


class Tree(HTMLParser):
    """Collects tags, attributes and texts, and checks that every tag is closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.texts.append(data)


def made(path: Path, *sources: Path) -> Tree:
    size = write_page(sources, path)
    assert size == path.stat().st_size <= LARGEST_PAGE
    return Tree(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["constructor", "toString", "valueOf", "hasOwnProperty", "__proto__"])
def test_names_that_every_object_of_javascript_has(name: str, tmp_path: Path) -> None:
    demitasse.save({name: torch.ones(3, 4), "other": torch.ones(2, 2)}, tmp_path / "n.demi")
    tree = made(tmp_path / "page.html", tmp_path / "n.demi")
    assert any(text == name for text in tree.texts)
    assert "\N{WORD JOINER}" not in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 bytes"), (999_499, "999 kB"), (999_500, "1 MB"), (999_999_999, "1 GB"), (1_220, "1.22 kB")],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.9996, "99.96 %"), (0.99996, "99.996 %"), (0.125, "12.5 %"), (0.999, "99.9 %")],
)
def test_only_all_is_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    tree = made(tmp_path / "page.html", compress_folder(tmp_path, "small"))
    addresses = [
        value
        for _, attributes in tree.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data") and value
    ]
    assert addresses
    assert all(value.startswith(("#", "data:")) for value in addresses)
    text = (tmp_path / "page.html").read_text()
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    (policy,) = (attributes["content"] for _, attributes in tree.tags if "http-equiv" in attributes)
    assert str(policy).startswith("default-src 'none'")
    assert sum(tag == "script" for tag, _ in tree.tags) == 1
    assert "@import" not in text
    assert set(re.findall(r"url\([^)]*\)", text)) == {"url(#stronger)"}


def test_everything_of_a_run_is_on_it(tmp_path: Path) -> None:
    tree = made(tmp_path / "page.html", compress_folder(tmp_path, "small"))
    text = " ".join("".join(tree.texts).split())
    for wanted in (
        "A net called small",
        "test error 0.50 % → 1.00 %",
        "demitasse compress small --seed 7",
        "Stage by stage",
        "Training",
        "What is kept of each tensor",
        "What the bytes of the file are for",
        "Weights by power of two",
        "The weights themselves",
        "fc.weight",
        "Test error against size",
        "Havasi 2018",
    ):
        assert wanted in text, wanted
    images = [attributes for tag, attributes in tree.tags if tag == "img" and "src" in attributes]
    assert str(images[0]["alt"]).startswith("Weights of fc.weight: ")
    groups = [attributes for _, attributes in tree.tags if attributes.get("role") == "group"]
    assert len(groups) == 12  # six charts, for wide and for narrow screens
    assert all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in groups)
    levels = [int(tag[1]) for tag, _ in tree.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_names_from_files_are_texts(tmp_path: Path) -> None:
    """A name as a script, as an end of an attribute, as a template, and with control characters."""
    tree = made(tmp_path / "page.html", hostile_file(tmp_path))
    text = "".join(tree.texts)
    assert "<script>alert(1)</script>.weight" in text
    assert "\"quoted\" & 'single' </style>--><b>.weight" in text
    assert "line\\nbreak\\ttab.weight" in text
    assert "{{ 7 * 7 }}{% raw %}.weight" in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert sum(tag == "script" for tag, _ in tree.tags) == 1
    assert not [tag for tag, attributes in tree.tags if any(name.startswith("on") for name in attributes)]
    labels = [str(attributes["aria-label"]) for _, attributes in tree.tags if "aria-label" in attributes]
    assert any(label.startswith("<script>alert(1)</script>.weight: ") for label in labels)


def test_runs_are_compared(tmp_path: Path) -> None:
    folders = [compress_folder(tmp_path, name, error) for name, error in (("a", 0.01), ("b", 0.02), ("c", 0.03))]
    tree = made(tmp_path / "page.html", *folders)
    text = " ".join(tree.texts)
    assert "3 runs compared" in text
    assert "Test error (%) during training" in text
    for name in "abc":
        assert f"A net called {name}" in text
    labels = [str(attributes.get("aria-label", "")) for _, attributes in tree.tags]
    assert any(label.startswith("b, pack: 2.00 %, ") for label in labels)
    assert "Havasi 2018 (arXiv 1810.00440): 0.96 %, 1,520 bytes" in labels


def test_what_starts_from_another_run_is_compared_with_it(tmp_path: Path) -> None:
    folder = compress_folder(tmp_path, "small", 0.03, dense={"error": 0.02, "loss": 0.1})
    text = " ".join(made(tmp_path / "page.html", folder).texts)
    assert "test error 2.00 % \N{RIGHTWARDS ARROW} 3.00 %, 310 \N{RIGHTWARDS ARROW} " in text
    assert "2.00 % before" in text


def test_logs_of_another_program_and_a_run_together(shared: Path, tmp_path: Path) -> None:
    logs = [shared / f"golden/logs/{name}.log" for name in ("train_plain", "train_dns")]
    text = " ".join(made(tmp_path / "page.html", *logs, compress_folder(tmp_path, "small")).texts)
    assert "Training: train_plain.log" in text
    assert re.search(r"train_plain test accuracy 0\.\d+ ", " ".join(text.split()))
    assert "Test accuracy during training" in text
    assert "A net called small" in text


def test_the_largest_page_holds_for_many_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    demitasse.save({f"w{i}": torch.randn(1000, 900) for i in range(2)}, tmp_path / "large.demi")
    made(tmp_path / "page.html", tmp_path / "large.demi")


@pytest.mark.parametrize(
    ("largest", "said"),
    [
        (1_500_000, "24 tensors;"),
        (400_000, "The 12 largest of 30 tensors."),
        (200_000, "The 6 largest of 30 tensors."),
        (
            100_000,
            "Its tensors are left out, since the page would become too large: a page with fewer runs shows them.",
        ),
    ],
)
def test_the_fewer_bytes_there_are_the_fewer_tensors_are_shown(
    largest: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    demitasse.save({f"conv{i}.weight": torch.randn(8, 8, 3, 3) for i in range(30)}, tmp_path / "net.demi")
    monkeypatch.setattr(page, "LARGEST_PAGE", largest)
    tree = made(tmp_path / "page.html", tmp_path / "net.demi")
    assert (tmp_path / "page.html").stat().st_size <= largest
    assert any(said in text for text in [*tree.texts, *(str(a.get("aria-label")) for _, a in tree.tags)])


@pytest.mark.parametrize(
    "name", ["\N{HOT BEVERAGE}" * 60, "\N{GRINNING FACE}" * 60, "]]>&<", "a\x08\ufffe\x85", "1.23456789"]
)
def test_names_that_charts_could_take_amiss(name: str, tmp_path: Path) -> None:
    demitasse.save({name: torch.ones(4, 4), "other": torch.ones(4, 4)}, tmp_path / "net.demi")
    texts = made(tmp_path / "page.html", tmp_path / "net.demi").texts
    assert texts.count(shown(name)) >= 2  # beside its picture and in the table


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3, 4),
        torch.zeros(0, 4),
        torch.tensor(2.0),
        torch.full((3, 4), math.nan),
        torch.full((3, 4), 3e38),
        torch.full((3, 4), 1e-310, dtype=torch.float64),
        torch.ones(3, 4, dtype=torch.int8),
        torch.ones(3, 4, dtype=torch.complex64),
        torch.ones(3, 4).to(torch.float8_e4m3fn),
    ],
    ids=("zeros", "empty", "scalar", "nan", "large", "subnormal", "whole", "complex", "float8"),
)
def test_unusual_tensors(tensor: torch.Tensor, tmp_path: Path) -> None:
    demitasse.save({"w": tensor}, tmp_path / "net.demi")
    assert "net.demi" in made(tmp_path / "page.html", tmp_path / "net.demi").texts


@pytest.mark.parametrize("error", [0.0, -3.0, 9e17])
def test_unusual_errors(error: float, tmp_path: Path) -> None:
    made(tmp_path / "page.html", compress_folder(tmp_path, "n" * 200, error))


def test_values_that_are_not_finite_are_named(tmp_path: Path) -> None:
    demitasse.save({"whole": torch.ones(3), "w": torch.tensor([1, math.nan, -math.inf, 0])}, tmp_path / "net.demi")
    text = " ".join(" ".join(made(tmp_path / "page.html", tmp_path / "net.demi").texts).split())
    assert "Values that are not finite, and count as kept: 2 of 4 in w." in text


def test_too_many_runs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LARGEST_PAGE", 30_000)
    with pytest.raises(UsageError, match=r"the page would have more than 30,000 bytes \(runs: 1\); expected fewer"):
        write_page([compress_folder(tmp_path, "small")], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = compress_folder(tmp_path, "small"), tmp_path / "page.html"
    with pytest.raises(SystemExit) as stop:
        main(["report", str(folder), "-o", str(out)])
    assert not stop.value.code
    assert re.fullmatch(rf"{re.escape(str(out))}: \d+ kB\n", capsys.readouterr().out)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(folder), "-o", str(tmp_path / "no/such/page.html")])
    assert stop.value.code == 1
    assert "there is no folder" in capsys.readouterr().err


def test_results_on_other_data_are_in_charts_of_their_own(tmp_path: Path) -> None:
    other = {"data": {"name": "digits"}}
    folders = [compress_folder(tmp_path, name, **changes) for name, changes in (("a", {}), ("b", other), ("c", other))]
    tree = made(tmp_path / "page.html", *folders)
    text = " ".join(" ".join(tree.texts).split())
    assert "Test error against size on mnist" in text
    assert "Test error against size on digits" in text
    assert "Test error (%) during training on digits" in text
    assert "during training on mnist" not in text  # there is only one
    labels = [str(attributes.get("aria-label", "")) for _, attributes in tree.tags]
    charts = [label for label in labels if "against bytes. Results: " in label]
    assert [("Published: " in label, "Results: a " in label) for label in charts[::2]] == [(True, True), (False, False)]
