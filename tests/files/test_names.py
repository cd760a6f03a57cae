from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demitasse.files import system_path, text_path

_ASCII = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
_PROGRAM = """
from pathlib import Path
from demitasse.caffe.text.prototxt import read_net
from demitasse.files import system_path, text_path, write_text
name = "\\xfc/\\xf1.prototxt"
assert text_path(system_path(name)) == name and system_path(system_path(name)) == system_path(name)
write_text(system_path("\\xfc/new.prototxt"), 'name: "new"')
print(read_net(name).name, read_net("\\xfc/new.prototxt").name)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are text there")
def test_names_in_a_file_are_utf_8_where_the_system_takes_ascii(tmp_path: Path) -> None:
    (tmp_path / "ü").mkdir()
    (tmp_path / "ü/ñ.prototxt").write_text('name: "old"', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=_ASCII, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
    )
    assert (done.stdout.split(), done.stderr) == (["old", "new"], "")
    assert (tmp_path / "ü/new.prototxt").is_file()


def test_other_names_stay() -> None:
    for name in ("a/b", "ü", "\ud800"):
        assert system_path(name) == name
    assert system_path(Path("a")) == text_path(Path("a")) == "a"
