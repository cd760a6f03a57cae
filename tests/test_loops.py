"""Loops are kept on the disk, and made anew when any of their sources has changed; without a disk they work as well."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from demitasse import loops, progress


def once(x: int) -> int:
    return x + 1


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def hits(**flags: Any) -> int:
    """Returns how many loops of one came from the disk."""
    loop: Any = loops.njit(**flags)(once)
    assert loop(1) == 2
    return sum(loop.stats.cache_hits.values())


@pytest.mark.usefixtures("kept")
def test_kept_until_a_source_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [hits(), hits()] == [0, 1]
    monkeypatch.setattr(loops, "_sources", lambda folder: "others")
    assert [hits(), hits()] == [0, 1]


@pytest.mark.usefixtures("kept")
def test_a_loop_with_other_flags_is_another_loop() -> None:
    assert [hits(), hits(fastmath=True), hits(fastmath=True)] == [0, 0, 1]


def test_a_broken_file_is_made_anew(kept: Path) -> None:
    assert hits() == 0
    (path,) = kept.rglob("*.loop")
    path.write_bytes(path.read_bytes()[:100])
    assert [hits(), hits()] == [0, 1]


def test_works_where_no_folder_takes_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(loops, "folders", lambda package: iter([tmp_path / "file" / "cache"]))
    assert [hits(), hits()] == [0, 0]


def test_a_folder_that_can_only_be_read_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(loops, "folders", lambda package: iter([tmp_path / "image"]))
    assert hits() == 0
    monkeypatch.setattr(loops, "folders", lambda package: iter([tmp_path / "file" / "no", tmp_path / "image"]))
    assert hits() == 1


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_folders_without_a_home(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setattr("os.path.expanduser", lambda path: path if home is None else path.replace("~", home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    found = list(loops.folders(Path("/package")))
    assert found[0] == Path("/package/__pycache__")
    assert all(folder.is_absolute() for folder in found)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_is_told_why_nothing_happens(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.announce.cache_clear()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    hits()
    hits(fastmath=True)
    assert capsys.readouterr().err.count("compiling loops for this machine") == terminal
    hits()
    assert "compiling" not in capsys.readouterr().err
