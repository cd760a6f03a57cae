"""What other systems and locales lack: signals, calls of POSIX, and an encoding of UTF-8."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import demitasse
from tests.training import solver_text, write_data

ROOT = Path(demitasse.__file__).parent
# callables that open text, and the position of their mode
OPENERS = {"open": 1, "fdopen": 1, "read_text": None, "write_text": None, "FileHandler": 1, "TextIOWrapper": None}
# what has the name of one, and opens bytes or something else
OTHERS = ("os", "Image", "lmdb", "gzip")


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def opens_text_without_encoding(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in OPENERS or any(keyword.arg in ("encoding", None) for keyword in call.keywords):
        return False
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if owner in OTHERS or owner.startswith("BACKENDS") or (name.endswith("_text") and not _is_path_method(call)):
        return False
    mode = " ".join(ast.unparse(argument) for argument in call.args if isinstance(argument, ast.Constant))
    return "b" not in re.sub(r"[^'\"]*(['\"])(\w*)\1", r"\2", mode)


def _is_path_method(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) != "prototxt"


def test_every_text_file_is_opened_with_an_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}"
        for path in sorted(ROOT.rglob("*.py"))
        for call in calls(path)
        if opens_text_without_encoding(call)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("open('a')", True),
        ("open('a', 'rb')", False),
        ("path.open('w', newline='')", True),
        ("path.open('wb')", False),
        ("path.write_text(text)", True),
        ("path.read_text(encoding='utf-8')", False),
        ("logging.FileHandler(path, mode='w')", True),
        ("Image.open(path)", False),
    ],
)
def test_what_the_rule_finds(code: str, wrong: bool) -> None:
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert opens_text_without_encoding(call) == wrong


def run(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


# Windows has none of these
WITHOUT_POSIX = """
import os, signal, sys
for module, names in (
    (signal, ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGQUIT", "pthread_sigmask", "sigwait", "pthread_kill", "alarm")),
    (os, ("sched_getaffinity", "geteuid", "getuid", "O_NOFOLLOW", "O_DIRECTORY", "fchmod", "fchown", "chown", "pread")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[name] = None
from demitasse.cli import main
"""


def test_training_without_what_windows_lacks(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "solver.prototxt").write_text(solver_text(tmp_path, "", "max_iter: 2 snapshot: 2"), encoding="utf-8")
    done = run(tmp_path, f"{WITHOUT_POSIX}main(['train', '-solver=solver.prototxt'])")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "snap_iter_2.caffemodel").is_file()


def test_all_modules_can_be_imported_without_what_windows_lacks(tmp_path: Path) -> None:
    names = [
        ".".join(("demitasse", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(ROOT.rglob("*.py"))
        if "examples/" not in path.as_posix() and path.name != "__main__.py"
    ]
    code = f"{WITHOUT_POSIX}import importlib\nfor name in {names!r}:\n    importlib.import_module(name)\n"
    done = run(tmp_path, code)
    assert done.returncode == 0, done.stderr


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def test_the_demo_in_a_locale_of_ascii(tmp_path: Path) -> None:
    code = "import demitasse.demo as d; d.QUICK = 1000; from demitasse.cli import main; main(['demo', '--quick'])"
    done = run(tmp_path, code, **ASCII)
    assert done.returncode == 0, done.stderr
    assert "Tables, pictures, logs, prototxts and models are in demo/" in done.stdout
    assert "conv1" in (tmp_path / "demo/digits/reference_iter_1.caffemodel").read_bytes().decode("latin-1")


def test_names_that_a_terminal_cannot_show(tmp_path: Path) -> None:
    net = (
        'name: "\u00fc" layer { name: "\u5377" type: "DummyData" top: "\u00e9" dummy_data_param { shape { dim: 1 } } }'
    )
    (tmp_path / "net.prototxt").write_text(net, encoding="utf-8")
    done = run(tmp_path, "from demitasse.cli import main; main(['time', '-model=net.prototxt', '-log_dir=l'])", **ASCII)
    assert done.returncode == 0, done.stderr
    assert "Creating Layer \u5377" in next((tmp_path / "l").iterdir()).read_text(encoding="utf-8")
    assert "Creating Layer \\u5377" in done.stderr
