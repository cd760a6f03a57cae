"""What is installed without extras works without them, and what needs one says which."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import demitasse
from demitasse.errors import MissingPackageError, UsageError
from demitasse.extras import NEEDS, needs
from tests import light_install
from tests.test_architecture import modules, names, needed, outside_functions

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# name to import -> name to install, where they differ
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "vl_convert": "vl-convert-python"}
# packages of extras that a feature uses where they are there, and does without where they are not
BESIDE = {"accelerate", "onnxruntime", "simplejpeg"}
OPTIONAL = {*NEEDS, *BESIDE}
FILES = dict(modules())


def distribution(requirement: str) -> str:
    """Returns the name of a requirement such as ``plyvel>=1.5; python_version < '3.13'``."""
    return re.match(r"[\w-]+", requirement)[0]  # type: ignore[index]


def resolved(extra: str) -> set[str]:
    """Returns the packages that an extra installs, those of the extras in it too."""
    found = set()
    for requirement in EXTRAS[extra]:
        if inner := re.fullmatch(r"demitasse\[(.+)\]", requirement):
            found |= {name for each in inner[1].split(",") for name in resolved(each)}
        else:
            found.add(distribution(requirement))
    return found


@pytest.mark.parametrize("package", NEEDS)
def test_the_extra_that_is_named_installs_the_package(package: str) -> None:
    assert DISTRIBUTIONS.get(package, package) in resolved(NEEDS[package].extra)


def test_every_package_of_an_extra_is_asked_for() -> None:
    features = set(EXTRAS) - {"all", "dev", "docs"}
    installed = {name for extra in features for name in resolved(extra)}
    assert installed == {DISTRIBUTIONS.get(package, package) for package in OPTIONAL}
    assert resolved("all") == installed
    assert resolved("dev") > installed
    assert not installed & {distribution(each) for each in PROJECT["dependencies"]}


def _guarded(tree: ast.AST) -> set[int]:
    """Returns the lines of a file that run under ``with needs(...)``, or are for type checkers alone."""
    return {
        line
        for node in ast.walk(tree)
        if (isinstance(node, ast.With) and "needs(" in ast.unparse(node.items[0]))
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for body in node.body
        for line in range(body.lineno, (body.end_lineno or 0) + 1)
    }


def _unguarded(path: Path) -> Iterator[str]:
    """Yields the imports of optional packages in a file that no ``needs`` stands around, or before, in a function."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    guarded, outer = _guarded(tree), {id(node) for node in outside_functions(tree)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom) or node.lineno in guarded:
            continue
        for line, name in names(path, [node]):
            package = name.split(".")[0]
            if package in OPTIONAL and (id(node) in outer or (package in NEEDS and f'"{package}"' not in text)):
                yield f"{path.name}:{line}: {name}"


@pytest.mark.parametrize("name", FILES)
def test_optional_packages_are_imported_under_needs(name: str) -> None:
    assert list(_unguarded(FILES[name])) == []


def test_an_unguarded_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("import h5py\nwith needs('lmdb'):\n    import lmdb\ndef f():\n    import scipy\n")
    assert list(_unguarded(path)) == ["module.py:1: h5py", "module.py:5: scipy"]


def features() -> set[str]:
    """Returns the modules that cannot be imported without an extra: they import a package of it, or such a module."""
    found: set[str] = set()
    for name, path in FILES.items():
        nodes = outside_functions(ast.parse(path.read_text(encoding="utf-8")))
        lines = ((line, imported.split(".")[0]) for line, imported in names(path, nodes))
        if any(package in OPTIONAL and not _for_types(path, line) for line, package in lines):
            found.add(name)
    while more := {name for name, path in FILES.items() if name not in found and needed(name, path, FILES) & found}:
        found |= more
    return found


def _for_types(path: Path, line: int) -> bool:
    tests = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.If)]
    return any(ast.unparse(node.test) == "TYPE_CHECKING" and node.body[0].lineno == line for node in tests)


def test_only_modules_of_features_need_an_extra(tmp_path: Path) -> None:
    """No package does: what packages register, and the names of demitasse itself, are there without extras."""
    found = features()
    assert found
    assert not [name for name in found if FILES[name].stem == "__init__"]
    plain = [f"demitasse.{name}".rstrip(".") for name in FILES if name not in found and not name.endswith("__main__")]
    plain = [name for name in plain if ".examples.pytorch" not in name]  # programs
    code = f"import sys\nfor name in {sorted(OPTIONAL)}: sys.modules[name] = None\n"
    code += f"from importlib import import_module\nfor name in {plain}: import_module(name)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize("code", ["import demitasse", "import demitasse.cli", "demitasse.load('model.demi')"])
def test_importing_and_loading_take_no_optional_package(code: str, tmp_path: Path) -> None:
    demitasse.save({"weight": torch.ones(2)}, tmp_path / "model.demi")
    others = {"safetensors", *OPTIONAL} - {"scipy", "pydot"}  # numba and torch import these where they are there
    code = f"import sys, demitasse\n{code}\nprint(*{others} & {{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def light(what: str, folder: Path) -> str:
    """Runs the program of light installations where no optional package can be imported; returns what it prints."""
    command = [sys.executable, light_install.__file__, what, *sorted(OPTIONAL)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_core_works_without_extras(tmp_path: Path) -> None:
    light("core", tmp_path)


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(light("features", tmp_path_factory.mktemp("features")))
    return found


@pytest.mark.parametrize("feature", [*NEEDS, "demo"])
def test_a_feature_says_which_extra_is_missing(feature: str, errors: dict[str, list[str]]) -> None:
    extra = NEEDS[feature].extra if feature in NEEDS else feature
    assert errors[feature], f"give {feature} a use in FEATURES of tests/light_install.py"
    for message in errors[feature]:
        assert re.search(
            rf"\w+ cannot be imported \(.+\); it is needed for .+: pip install 'demitasse\[{extra}\]'$", message
        )


def test_the_error_is_one_of_use_and_one_of_import() -> None:
    def load() -> None:
        with needs("lmdb", extra="demo"):
            raise ImportError("a library is missing")

    message = r"^lmdb cannot be imported \(a library is missing\); .*: pip install 'demitasse\[demo\]'$"
    for kind in (MissingPackageError, UsageError, ImportError):
        with pytest.raises(kind, match=message):
            load()


def test_other_errors_of_an_import_are_left_alone() -> None:
    def load() -> None:
        with needs("lmdb"):
            raise AttributeError("a mistake")

    with pytest.raises(AttributeError, match=r"^a mistake$"):
        load()
