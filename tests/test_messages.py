"""Messages of the library name its parameters; the command line calls them by its flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import demitasse
from demitasse.cli.flags import flag
from demitasse.errors import named_by, parameter

ROOT = Path(demitasse.__file__).parent
# programs of their own, with flags of their own
PROGRAMS = ("cli/", "examples/", "caffe/schema/stub.py")
FLAG = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|-(gpu|cpu|solver|weights|snapshot|model|iterations|level|stage)\b)")


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and text of every string of a file that is no docstring."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def flags(source: str) -> list[tuple[int, str]]:
    return [(line, found[0]) for line, text in strings(source) if (found := FLAG.search(text))]


def test_no_message_of_the_library_names_a_flag():
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(PROGRAMS):
            found += [f"{name}:{line}: {word}" for line, word in flags(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join([*found, "say errors.parameter('name'), which the command line shows as its flag"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("give it by --net", ["--net"]),
        ("-gpu=0: none", ["-gpu"]),
        ("python -m a-b --c-d", ["--c-d"]),
        ("a -- b, 1e-05 --- x-gpu", []),
    ],
)
def test_flags_are_seen(text: str, found: list[str]):
    assert [word for _, word in flags(f'"""--docs"""\nraise E(f"{{x}} {text}")')] == found


@pytest.mark.parametrize(
    ("name", "value", "library", "command"),
    [
        ("batch", None, "batch", "--batch"),
        ("batch", "fixed", "batch='fixed'", "--batch fixed"),
        ("allow_imports", True, "allow_imports=True", "--allow-imports"),
        ("restart_all", True, "restart_all=True", "--restart"),
        ("gpu", "0,1", "gpu='0,1'", "-gpu=0,1"),
    ],
)
def test_a_parameter_is_called_by_who_speaks(name: str, value: object, library: str, command: str):
    with named_by(flag):
        assert parameter(name, value) == command
    assert parameter(name, value) == library


def test_a_command_line_speaks_only_while_it_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    from demitasse.caffe import device
    from demitasse.cli import main
    from demitasse.errors import DemitasseError

    net = tmp_path / "net.prototxt"
    net.write_text('layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    with pytest.raises(SystemExit):
        main(["time", f"-model={net}", "-gpu=none"])
    assert "error: -gpu=none: " in capsys.readouterr().err
    with pytest.raises(DemitasseError, match=r"^gpu='none': "):
        device.choose("none")
