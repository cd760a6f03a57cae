"""The page at the end of a run: where it is, or what is missing for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from demitasse.report.page.written import write_page_of
from tests.report.page.runs import compress_folder


def test_it_is_in_the_folder_of_the_run(tmp_path: Path) -> None:
    said: list[str] = []
    folder = compress_folder(tmp_path, "small")
    write_page_of(folder, said.append)
    assert said == [f"report: {folder / 'report.html'}"]
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_a_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("demitasse.report.page.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    said: list[str] = []
    folder = compress_folder(tmp_path, "small")
    write_page_of(folder, said.append)
    (line,) = said
    assert line.startswith(f"{folder / 'report.html'} was not written: vl_convert cannot be imported")
    assert line.endswith("pip install 'demitasse[report]'")
    assert not (folder / "report.html").exists()
