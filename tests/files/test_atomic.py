"""Files that are whole or not there: links, permissions, devices, pipes, killed and concurrent writers."""

from __future__ import annotations

import io
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import pytest

from demitasse.errors import UsageError, WriteError
from demitasse.files import atomic_write, write_bytes, write_text
from tests.files.rounds import FORMS, run

posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes and permissions of POSIX")


def test_replaces_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_bytes(b"old")
    with atomic_write(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def fail_while_writing(target: Path) -> None:
    with atomic_write(target) as file:
        file.write(b"ne")
        raise ValueError("no")


def test_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="no"):
        fail_while_writing(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@posix
def test_a_link_that_waits_under_a_temporary_name_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, target = tmp_path / "victim", tmp_path / "out.demi"
    victim.write_bytes(b"precious")
    names = iter(["0" * 8, "1" * 8])
    monkeypatch.setattr("secrets.token_hex", lambda count: next(names))
    for name in (".out.demi.tmp", f".out.demi.{'0' * 8}.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_bytes(target, b"new")
    assert victim.read_bytes() == b"precious"
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_the_target_of_a_link_is_written_and_the_link_stays(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "data").mkdir()
    real, link, second = tmp_path / "data/real", tmp_path / "link", tmp_path / "second"
    link.symlink_to("data/real")
    second.symlink_to("link")
    if exists:
        real.write_bytes(b"old")
    write_bytes(second, b"new")
    assert real.read_bytes() == b"new"
    assert (os.readlink(second), os.readlink(link)) == ("link", "data/real")


@posix
def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(WriteError, match="a: cannot be written: Too many levels"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").is_symlink()


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_permissions_of_a_file_stay(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "model"
    target.touch()
    target.chmod(mode)
    with atomic_write(target) as file:
        file.write(b"new")
        (draft,) = set(tmp_path.iterdir()) - {target}
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600  # nobody else reads what the old file hid
    assert stat.S_IMODE(target.stat().st_mode) == mode


@posix
def test_a_new_file_is_as_readable_as_any(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "model", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_of_a_file_stays(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.touch()
    os.chown(target, 12345, 54321)
    write_bytes(target, b"new")
    assert (target.stat().st_uid, target.stat().st_gid) == (12345, 54321)


@posix
def test_a_write_protected_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what root may do
    with pytest.raises(WriteError, match="model: cannot be written: the file is write-protected"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"


def test_a_folder_of_the_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(WriteError, match="model: cannot be written: there is a folder of this name"):
        write_bytes(tmp_path / "model", b"new")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"model: cannot be written: there is no folder '.*missing'"):
        write_bytes(tmp_path / "missing/model", b"new")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        write_bytes(name, b"new")


def test_a_name_of_the_greatest_length(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    write_bytes(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


@posix
def test_a_device_is_written_through() -> None:
    write_bytes("/dev/null", b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out.demi").symlink_to("pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_bytes(tmp_path / "out.demi", b"new" * 100_000)
    reader.join(10)
    assert found == [b"new" * 100_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@posix
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "link"])
def test_standard_output_is_written_to_where_it_is(tmp_path: Path, name: str) -> None:
    """What the shell has opened to append to is not emptied, and not replaced by another file."""
    out = tmp_path / "out"
    out.write_bytes(b"before ")
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = f"from demitasse.files import write_bytes; print('line', end=' '); write_bytes({name!r}, b'data')"
    with out.open("ab") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, cwd=tmp_path, check=True)
    assert out.read_bytes() == b"before line data"


@posix
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "model"
    code = (
        "import os, signal, sys; from demitasse.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file: file.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", code, str(target)])
        assert killed.returncode == -signal.SIGKILL
        assert len(list(tmp_path.iterdir())) == 1
    write_bytes(target, b"whole")
    assert list(tmp_path.iterdir()) == [target]


@posix
def test_a_writer_that_lives_keeps_its_draft(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_write(target) as first:
        first.write(b"first")
        with atomic_write(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"  # the last one to end
    assert list(tmp_path.iterdir()) == [target]


@posix
def test_a_reader_that_locks_its_file_has_the_new_one_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["data"] = 1
    replace, found = os.replace, []

    def replace_and_read(draft: str, target: str) -> None:
        replace(draft, target)
        with h5py.File(target, "r", locking=True) as file:
            found.append(file["data"][()])

    monkeypatch.setattr(os, "replace", replace_and_read)
    write_bytes(tmp_path / "data.h5", content.getvalue())
    assert found == [1]


def test_data_and_name_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    replace = os.replace

    def sync(descriptor: int) -> None:
        happened.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda *names: happened.append("name") or replace(*names))
    write_bytes(tmp_path / "model", b"new")
    assert happened == (["file", "name", "folder"] if os.name != "nt" else ["file", "name"])


def test_text_is_utf_8_with_line_feeds(tmp_path: Path) -> None:
    write_text(tmp_path / "text", "grün\n\udcff\n")
    assert (tmp_path / "text").read_bytes() == "grün\n\\udcff\n".encode()


def test_every_read_beside_writers_is_one_writers_whole_file(tmp_path: Path) -> None:
    assert run(tmp_path, writers=2, readers=1, rounds=6) >= len(FORMS)


@pytest.mark.slow
@pytest.mark.parametrize("writers", [2, 4])
def test_every_read_beside_writers_is_one_writers_whole_file_in_a_thousand_rounds(tmp_path: Path, writers: int) -> None:
    assert run(tmp_path, writers, readers=3, rounds=1000) >= 3 * len(FORMS)
