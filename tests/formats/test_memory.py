"""To and from bytes and file objects."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

import demitasse
from demitasse.errors import FileFormatError, WriteError
from tests.methods.playground import net, same

each_form = pytest.mark.parametrize("form", [".demi", ".safetensors", ".pt"])


@each_form
def test_to_and_from_memory(tmp_path: Path, form: str) -> None:
    model, memory = net(), io.BytesIO(b"before")
    memory.seek(0, io.SEEK_END)
    size = demitasse.save(model, memory, format=form)
    assert size == len(memory.getvalue()) - 6
    memory.seek(6)
    assert same(model, demitasse.load(memory, into=net(1)))
    assert same(model, demitasse.load(memory.getvalue()[6:], into=net(1)))
    assert same(model, demitasse.load(memoryview(memory.getvalue())[6:], into=net(1), format=form[1:]))  # type: ignore[arg-type]
    with (tmp_path / f"model{form}").open("wb") as file:  # whose name tells the form
        demitasse.save(model, file)
    with (tmp_path / f"model{form}").open("rb") as file:
        assert same(model, demitasse.load(file, into=net(1)))


def test_a_packed_file_opens_from_memory() -> None:
    memory = io.BytesIO()
    demitasse.save({"w": torch.arange(3)}, memory, format="demi")
    for source in (memory.getvalue(), io.BytesIO(memory.getvalue())):
        with demitasse.open(source) as file:
            assert file["w"].tolist() == [0, 1, 2]


class Narrow(io.RawIOBase):
    """A raw stream that takes a few bytes at once, up to a limit."""

    def __init__(self, limit: int, at_once: int | None = 7) -> None:
        self.content, self.limit, self.at_once = bytearray(), limit, at_once

    def writable(self) -> bool:
        return True

    def write(self, data) -> int | None:  # type: ignore[no-untyped-def, override]
        if self.at_once is None:
            return None
        taken = bytes(data[: min(self.at_once, self.limit - len(self.content))])
        self.content += taken
        return len(taken)


@each_form
def test_a_stream_that_takes_little_at_once_gets_all(form: str) -> None:
    state = {"w": torch.arange(50.0)}
    whole, narrow = io.BytesIO(), Narrow(1 << 20)
    assert demitasse.save(state, narrow, format=form) == demitasse.save(state, whole, format=form)  # type: ignore[arg-type]
    assert bytes(narrow.content) == whole.getvalue()
    for full in (Narrow(20), Narrow(20, at_once=None)):
        with pytest.raises(WriteError, match=r"data: cannot be written: it accepted (20|0) of [0-9,]+ bytes"):
            demitasse.save(state, full, format=form)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [b"\x80\x02", b"\x10\x00"])
def test_a_safetensors_file_cut_short_in_memory_is_known_as_one(first: bytes) -> None:
    begin = first.ljust(8, b"\0")
    for content in (begin, begin + b"{"):
        with pytest.raises(FileFormatError, match=r"data: cannot be read as \.safetensors"):
            demitasse.load(content)
    with pytest.raises(FileFormatError, match="data: found 5 bytes that begin with"):
        demitasse.load(begin[:5])
