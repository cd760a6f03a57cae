"""One name for one thing: no two modules of the package define a public class of the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import demitasse

ROOT = Path(demitasse.__file__).parent

# the callbacks of two trainers, of which a program imports one, and the names that pycaffe gives its classes
SAME_ON_PURPOSE = {"DemitasseCallback", "Net", "Solver"}


def public_classes(folder: Path) -> dict[str, list[str]]:
    """Returns name -> modules of the public classes at the top level of all modules in a folder."""
    found = defaultdict(list)
    for path in sorted(folder.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path.relative_to(folder).as_posix())
    return found


def duplicates(folder: Path) -> dict[str, list[str]]:
    """Returns the classes that several modules define."""
    return {name: paths for name, paths in public_classes(folder).items() if len(paths) > 1}


def test_a_class_has_a_name_of_its_own() -> None:
    found = {name: paths for name, paths in duplicates(ROOT).items() if name not in SAME_ON_PURPOSE}
    assert not found, "\n".join(f"{name}: {', '.join(paths)}" for name, paths in found.items())
    assert duplicates(ROOT).keys() >= SAME_ON_PURPOSE


def test_a_duplicate_is_found(tmp_path: Path) -> None:
    for name in ("a", "b", "room/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("class Plan:\n    pass\n\n\nclass _Plan:\n    pass\n")
    (tmp_path / "b.py").write_text("class Row:\n    class Plan:\n        pass\n")
    assert duplicates(tmp_path) == {"Plan": ["a.py", "room/c.py"]}
