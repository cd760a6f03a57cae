"""Compiled kernels: where they are kept, and what a terminal is told while they are made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from demitasse import progress
from demitasse.files.cached import checked
from demitasse.runtime.native import kernels, moving
from demitasse.runtime.native.llvm import Machine, host


def machine(number: int) -> Machine:
    """Returns this machine under another description, for which no kernel was compiled before."""
    return host()._replace(registers=100 + number)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.o"))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_why_nothing_happens(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(kernels, "folders", lambda: iter([tmp_path]))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    progress.announce.cache_clear()
    for build in (moving.rows, moving.part):
        assert kernels.address(machine(terminal), build)
    assert capsys.readouterr().err.count("compiling kernels for this machine") == terminal
    assert len(kept(tmp_path)) == 2
    assert all(checked(path) for path in kept(tmp_path))


def test_a_damaged_file_is_compiled_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = tmp_path / "made"
    monkeypatch.setattr(kernels, "folders", lambda: iter([made]))
    assert kernels.address(machine(2), moving.rows)
    (path,) = kept(made)
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    monkeypatch.setattr(kernels, "_library", type("Library", (), {"add": lambda self, code, name: len(code)}))
    assert kernels.address.__wrapped__(machine(2), moving.rows) == len(good) - 32
    assert path.read_bytes() == good


def test_folders_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(kernels, "folders", lambda: iter([tmp_path / "file" / "cache", tmp_path / "second"]))
    assert kernels.address(machine(3), moving.rows)
    assert len(kept(tmp_path / "second")) == 1
    monkeypatch.setattr(kernels, "folders", lambda: iter([tmp_path / "file" / "cache"]))
    assert kernels.address(machine(4), moving.rows)
