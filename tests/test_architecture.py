"""Who may know whom: the import rules of the package, read off the source, and that importing it is light.

No imports go in a circle, those under ``TYPE_CHECKING`` included: what two files need of each other is a protocol, or
a file of its own. There are no exceptions.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import demitasse

ROOT = Path(demitasse.__file__).parent

# every room may use these, and itself
COMMON = {
    "",
    "errors",
    "extras",
    "registry",
    "files",
    "_version",
    "datasets",
    "idx",
    "threads",
    "arrays",
    "loops",
    "text_table",
    "progress",
}

# room (a folder or file under demitasse/) -> the other rooms it may use; None is all
ALLOWED: dict[str, set[str] | None] = {
    "": {"methods", "packed", "formats", "preparation", "reorder", "runtime", "shrinking"},
    "cli": None,
    "__main__": {"cli"},
    "warm": {"caffe", "methods", "packed"},
    "demo": {"caffe", "caffe.tools", "methods", "packed", "formats", "report", "report.page", "examples"},
    "compress": {"zoo", "methods", "packed", "report", "report.page", "optim", "formats"},
    "methods": set(),
    "packed": set(),
    "examples": set(),
    "caffe": {"methods", "packed"},
    "caffe.tools": {"caffe", "methods", "packed", "formats", "graph.caffe", "preparation", "shrinking"},
    "graph": {"packed"},
    "graph.caffe": {"graph", "caffe", "caffe.tools", "packed", "formats"},
    "graph.pytorch": {"graph", "packed"},
    "runtime": {"graph", "graph.caffe", "graph.pytorch", "packed", "formats"},
    "report": {"methods", "packed"},
    "report.page": {"report", "packed", "formats"},
    "optim": {"methods", "packed"},
    "formats": {"methods", "packed", "caffe", "graph", "graph.caffe", "graph.pytorch", "preparation"},
    "preparation": {"caffe"},
    "reorder": {"methods", "packed", "formats"},
    "shrinking": {"methods", "formats"},
    "zoo": {"methods", "packed", "optim", "formats", "preparation", "shrinking"},
    "integrations": {"methods", "packed", "formats"},
    "pycaffe": {"caffe", "report"},
    "dnn": {"caffe", "formats", "graph", "graph.caffe", "runtime"},
    "export": {"graph", "graph.caffe", "graph.pytorch", "runtime", "packed"},
}

HEAVY = {"torch", "torchvision", "numba", "triton", "matplotlib", "sklearn", "h5py"}


def modules() -> list[tuple[str, Path]]:
    """Returns every module of the package: its dotted name inside the package, and its file."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of what a file imports, at any depth; ``from a import b`` gives ``a.b``."""
    return names(path, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def names(path: Path, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Yields line and dotted name of what some nodes of a file import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes below a node, the insides of functions left out: what is there once a module is imported."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def needed(name: str, path: Path, known: Iterable[str]) -> set[str]:
    """Returns the modules of the package that a module imports, ``TYPE_CHECKING`` included, and their packages.

    Args:
        name: of the module inside the package.
        path: its file.
        known: the names of all modules.
    """
    found = set()
    for _, imported in names(path, outside_functions(ast.parse(path.read_text(encoding="utf-8")))):
        if not imported.startswith("demitasse."):
            continue
        parts = imported.split(".")[1:]
        packages = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        # to be inside of a package is no import of it, but to name it is
        inner = [each for each in packages[:-1] if f"{name}.".startswith(f"{each}.")]
        found |= {each for each in packages if each in known and each not in inner}
    return found - {name}


def circle(files: Iterable[tuple[str, Path]]) -> list[str]:
    """Returns the names of modules each of which imports the next one, the last one being the first again."""
    known = dict(files)
    try:
        TopologicalSorter({name: needed(name, path, known) for name, path in known.items()}).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def room(dotted: str) -> str:
    """Returns the room of a module inside the package: its first parts if they are a room or a common file."""
    parts = dotted.split(".")
    names = (".".join(parts[:count]) for count in (2, 1))
    return next((name for name in names if name in ALLOWED or name in COMMON), "")


def violations(name: str, path: Path) -> list[str]:
    """Returns the imports of a module that its room does not allow."""
    here = room(name)
    allowed = ALLOWED.get(here, set())
    if allowed is None:
        return []
    wrong = []
    for line, imported in imports(path):
        if not imported.startswith("demitasse."):
            continue
        there = room(imported.removeprefix("demitasse."))
        if there not in {here, *COMMON, *allowed}:
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {here or 'demitasse'} must not know {there}")
    return wrong


each_module = pytest.mark.parametrize(("name", "path"), [pytest.param(*found, id=found[0]) for found in modules()])


def test_every_file_has_a_room() -> None:
    tops = {path.relative_to(ROOT).parts[0].removesuffix(".py") for _, path in modules()}
    assert tops <= {"__init__", *ALLOWED, *COMMON}, "give the new room a line in ALLOWED"


@each_module
def test_imports_keep_to_the_rules(name: str, path: Path) -> None:
    assert violations(name, path) == []


def test_a_violation_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "methods.py"
    path.write_text("def f():\n    from demitasse.caffe import net\n")
    assert violations("methods", path) == ["methods.py:2: methods must not know caffe"]


def test_no_imports_go_in_a_circle() -> None:
    assert circle(modules()) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    files = {"a": "import demitasse.room.b\n", "room.b": "if TYPE_CHECKING:\n    from demitasse.a import A\n"}
    assert circle(written(tmp_path, files)) in (["a", "room.b", "a"], ["room.b", "a", "room.b"])
    files["room.b"] = "def f():\n    from demitasse.a import A\n"
    assert circle(written(tmp_path, files)) == []


def test_a_circle_through_a_package_is_found(tmp_path: Path) -> None:
    files = {"a": "from demitasse.room.b import B\n", "room": "from demitasse.room import b, c\n", "room.b": ""}
    assert circle(written(tmp_path, {**files, "room.c": "from demitasse.room.b import B\n"})) == []
    assert circle(written(tmp_path, {**files, "room.c": "from demitasse.a import A\n"}))


def written(folder: Path, files: dict[str, str]) -> list[tuple[str, Path]]:
    """Writes modules into a folder; returns them as :func:`modules` does."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return [(name, folder / name) for name in files]


def test_only_the_adapter_walks_the_layers_of_a_caffe_net() -> None:
    """The passes, the runtime and the exporters see graphs; there is one place that makes graphs of nets."""
    found = []
    for name, path in modules():
        if room(name) in ("graph", "runtime", "export"):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found += [
                name for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("spec", "layer_param")
            ]
    assert found == []
    walks = [name for name, path in modules() if "net.spec.layer" in path.read_text(encoding="utf-8")]
    assert {name for name in walks if not name.startswith(("caffe.", "pycaffe."))} <= {
        "graph.caffe.model",
        "graph.caffe.net",
    }


def test_packed_works_without_torch() -> None:
    paths = [path for name, path in modules() if room(name) == "packed"]
    assert paths
    assert not [path for path in paths for _, imported in imports(path) if imported.split(".")[0] == "torch"]


@pytest.mark.parametrize("module", ["demitasse", "demitasse.cli", "demitasse.packed.compact"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
