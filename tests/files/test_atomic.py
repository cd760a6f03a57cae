from pathlib import Path

import pytest

from demitasse.files import atomic_write


def test_replaces_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_bytes(b"old")
    with atomic_write(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def fail_while_writing(target: Path) -> None:
    with atomic_write(target) as file:
        file.write(b"ne")
        raise OSError(28, "No space left on device")


def test_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        fail_while_writing(target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
