"""Folders that are whole or not there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from demitasse.errors import UsageError, WriteError
from demitasse.files import make_folder, new_folder


def test_a_new_folder_is_there_at_the_end(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with new_folder(tmp_path / "db") as folder:
            (folder / "data").write_bytes(b"1")
            assert not (tmp_path / "db").exists()
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.rglob("*")] == ["db", "data"]
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "db").stat().st_mode) == 0o755


def test_the_first_writer_of_a_folder_wins(tmp_path: Path) -> None:
    def second() -> None:
        with new_folder(tmp_path / "db") as late:
            (late / "data").write_bytes(b"late")
            with new_folder(tmp_path / "db") as early:
                (early / "data").write_bytes(b"early")

    with pytest.raises(UsageError, match="db: already exists"):
        second()
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
    assert (tmp_path / "db/data").read_bytes() == b"early"


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_a_link_of_the_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="db: already exists"), new_folder(tmp_path / "db"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no locks for folders")
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from demitasse.files import new_folder\n"
        "with new_folder(sys.argv[1]) as f: (f / 'data').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "db")]).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with new_folder(tmp_path / "db"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["db"]


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="db: cannot be written: there is no folder"), new_folder(tmp_path / "no/db"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="file/folder: cannot be written: "):
        make_folder(tmp_path / "file/folder")
