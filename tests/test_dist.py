"""What is published: the sdist has all that its tests need, and hosted runners run the README's commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = (".ci", ".github", "benchmarks", "docs", "src", "tests")
FILES = (
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md"),
    *("constraints.txt", "mkdocs.yml", "pyproject.toml"),
)
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info")
WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, without what tools have left in it."""
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=LEFT_OUT)
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    return copy


def build(source: Path, kind: str, out: Path) -> Path:
    """Builds a wheel or an sdist with the installed setuptools, and returns it."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (made,) = out.iterdir()
    return made


@pytest.mark.slow
def test_the_sdist_has_the_whole_source_and_its_tests_are_found(source: Path, tmp_path: Path) -> None:
    with tarfile.open(build(source, "sdist", tmp_path / "out")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("demitasse-*")
    expected = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    found = {path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()}
    generated = {path for path in expected if ".egg-info" in str(path)}
    assert sorted(expected - generated - found) == []
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    collected = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=False)
    assert collected.returncode == 0, collected.stdout[-2000:]


@pytest.mark.slow
def test_the_wheel_has_all_files_of_the_package_and_no_others(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build(source, "wheel", tmp_path / "out")) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = source / "src"
    expected = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert sorted(found ^ {name for name in expected if ".egg-info" not in name}) == []


def test_hosted_runners_call_the_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^make \w+$", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)
    assert commands == ["make check", "make test"]
    assert [command for command in commands if f"`{command}`" not in readme] == []
    steps = [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    assert steps == [".ci/run", "make dist", "make docs"]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"check", "test", "dist", "docs"} <= set(targets)


def test_hosted_runners_take_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_the_page_on_installing_names_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    for_users = project["optional-dependencies"].keys() - {"dev", "docs"}
    assert sorted(extra for extra in for_users if f"| `{extra}` |" not in page) == []


def test_the_python_of_a_hosted_runner_is_the_one_that_make_takes() -> None:
    assert WORKFLOW["jobs"]["test"]["env"]["PYTHON"] == "python${{ matrix.python }}"
    assert "PYTHON ?=" in (ROOT / "Makefile").read_text(encoding="utf-8")
