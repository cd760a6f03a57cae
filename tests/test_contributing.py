"""The examples of CONTRIBUTING.md pass ``mypy --strict``, as a newcomer copies them; tests/test_docs.py runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_runner import blocks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"


def examples() -> str:
    """Returns the Python examples as one module, each on the lines where it is on the page."""
    source = ""
    for block in blocks(PAGE):
        if block.language == "python":
            source += "\n" * (block.line - 1 - source.count("\n")) + block.text
    return source


def check(source: str, folder: Path, cache: Path) -> str:
    """Returns what mypy says of a module, under the project's settings; nothing where it is right."""
    path = folder / "examples.py"
    path.write_text(source, encoding="utf-8")
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache), "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def cache(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """A folder that stays from run to run: with it mypy takes a second, without it half a minute."""
    kept = pytestconfig.cache
    return kept.mkdir("mypy") if kept else tmp_path


def test_examples_are_typed(tmp_path: Path, cache: Path) -> None:
    source = examples()
    assert check(source, tmp_path, cache) == ""
    wrong = check(source.replace("def ternary(weight: Tensor)", "def ternary(weight)"), tmp_path, cache)
    assert "Function is missing a type annotation" in wrong
