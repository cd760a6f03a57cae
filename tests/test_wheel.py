"""The wheel in an environment of its own, with what it asks for and nothing else: no extra is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from demitasse.extras import NEEDS
from tests import light_install

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src")

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path) -> str:
    """Runs a program that sees nothing of the environment of the tests; returns what it prints."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel, whose packages come from pip's index."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "sources").mkdir()
    for name in SOURCES:  # a copy: the build writes beside them
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "sources" / name)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", ".", "./sources", folder=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    found = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    run(found / "python", "-m", "pip", "install", "-c", ROOT / "constraints.txt", wheel, folder=folder)
    return found


def test_no_extra_is_installed(programs: Path, tmp_path: Path) -> None:
    code = f"from importlib.util import find_spec; print([name for name in {sorted(NEEDS)} if find_spec(name)])"
    assert run(programs / "python", "-c", code, folder=tmp_path).strip() == "[]"


def test_the_core_works(programs: Path, tmp_path: Path) -> None:
    run(programs / "python", light_install.__file__, "core", folder=tmp_path)
    assert "inspect" in run(programs / "demitasse", "--help", folder=tmp_path)
    assert "0.weight" in run(programs / "demitasse", "inspect", "model.demi", folder=tmp_path)


@pytest.fixture(scope="module")
def errors(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    printed = run(programs / "python", light_install.__file__, "features", folder=tmp_path_factory.mktemp("features"))
    found: dict[str, list[str]] = json.loads(printed)
    return found


@pytest.mark.parametrize("feature", [*NEEDS, "demo"])
def test_a_feature_says_which_extra_is_missing(feature: str, errors: dict[str, list[str]]) -> None:
    extra = NEEDS[feature].extra if feature in NEEDS else feature
    assert errors[feature]
    assert all(f"pip install 'demitasse[{extra}]'" in message for message in errors[feature])
