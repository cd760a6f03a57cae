"""The examples of the README and of the documentation run as they stand, with little data and few iterations."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demitasse import datasets
from demitasse.caffe.layers import LAYERS
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.training.lr_policy import LR_POLICIES
from demitasse.caffe.training.optimizers import OPTIMIZERS
from demitasse.export.source.base import SOURCE
from demitasse.formats import FORMATS
from demitasse.packed.compact import CODECS
from demitasse.registry import Registry
from tests.docs_runner import blocks, check_output, commands, run_command

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "src/demitasse/examples/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
NEED_DATA = ("commands.md", "snapshots.md", "logs.md", "shrink.md")
SHRINK = 1000
REGISTRIES: list[Registry[Any]] = [LAYERS, SOURCES, OPTIMIZERS, LR_POLICIES, CODECS, SOURCE, FORMATS]


def shrink(text: str) -> str:
    """Divides numbers of iterations in prototxts and commands, so that files have the names that are shown."""

    def fewer(match: re.Match[str]) -> str:
        return match[1] + str(max(int(match[2]) // SHRINK, 1))

    text = re.sub(r"((?:max_iter|snapshot): |_iter_)(\d+)", fewer, text)
    return re.sub(r"(test_iter: |-iterations=)\d+", r"\g<1>1", text)


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.digits()


@pytest.fixture
def folder(tmp_path: Path, digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: files like MNIST's with digits of 28 x 28, and a few photographs with a list."""
    for prefix, images, labels in (
        ("train", digits.train_images[:200], digits.train_labels[:200]),
        ("t10k", digits.test_images[:100], digits.test_labels[:100]),
    ):
        large = np.pad(np.kron(images[:, 0], np.ones((1, 3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2)))
        header = struct.pack(">2xBB3I", 8, 3, *large.shape)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(header + large.tobytes())
        content = struct.pack(">2xBBI", 8, 1, len(labels)) + labels.astype(np.uint8).tobytes()
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(gzip.compress(content))
    (tmp_path / "photos").mkdir()
    for index in range(5):
        Image.fromarray(large[index]).save(tmp_path / f"photos/{index}.png")
    (tmp_path / "list.txt").write_text("".join(f"{index}.png {digits.test_labels[index]}\n" for index in range(5)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes of the working directory what the first commands of the page on LeNet-5 make."""
    block = next(block for block in blocks(ROOT / "docs/lenet5.md") if block.language == "sh")
    for command in list(commands(block))[:4]:
        run_command(command, str, monkeypatch)
    _shrink_solvers()


def _shrink_solvers() -> None:
    for solver in Path().rglob("*solver.prototxt"):
        solver.write_text(shrink(solver.read_text()))


@pytest.fixture(autouse=True)
def _same_registries() -> Iterator[None]:
    before = [dict(registry._entries) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry._entries = entries


def marked(page: Path) -> Any:
    """Returns a page as a parameter; with the mark of what it needs that may not be there."""
    needs = [pytest.mark.leveldb] if "--backend=leveldb" in page.read_text(encoding="utf-8") else []
    return pytest.param(page, marks=needs, id=str(page.relative_to(ROOT)))


@pytest.mark.filterwarnings(
    "ignore:torch.distributed is disabled:UserWarning", "ignore::DeprecationWarning:transformers"
)
@pytest.mark.parametrize("page", [marked(page) for page in PAGES])
def test_examples_of_a_page(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, Any] = {}
    if page.name in NEED_DATA:
        prepare(monkeypatch)
    for block in blocks(page):
        if block.is_output:
            check_output(block.text.splitlines(), capfd.readouterr().out, True, f"{page}:{block.line}")
            continue
        if block.language == "python":
            capfd.readouterr()
            exec(compile("\n" * (block.line - 1) + shrink(block.text), str(page), "exec"), namespace)
            continue
        for command in commands(block):
            line = shrink(command.line)
            run_command(command._replace(line=line), lambda: "".join(capfd.readouterr()), monkeypatch)
            if line.startswith(("demitasse examples", "demitasse demo")):
                _shrink_solvers()


def test_figures_may_vary_but_words_may_not() -> None:
    said = "│ fc │ 12,345 │\n└────┴────────┘\n0.5 % wrong, 3e-07\n"
    check_output(["│ fc │ 9 │", "└────┴───┘", "12.25 % wrong, 1"], said, True, "a table")
    for expected, figures_vary in ((["│ fc │ 9 │"], False), (["│ fd │ 9 │"], True), (["0.5 % right"], True)):
        with pytest.raises(AssertionError, match="expected"):
            check_output(expected, said, figures_vary, "a table")


def test_every_command_is_documented() -> None:
    from typer.main import get_command

    from demitasse.cli import build

    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    known = get_command(build()).commands  # type: ignore[attr-defined]
    assert [name for name in known if f"`{name}" not in page] == []
    flags = {option for command in known.values() for option in (o for p in command.params for o in p.opts)}
    missing = [flag for flag in flags if flag.startswith("--") and flag.lstrip("-") not in page]
    assert sorted(missing) == ["--help"] or missing == []
