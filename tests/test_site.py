"""The site: every public name has an entry in the reference, and every link leads somewhere.

``make check`` builds the site, which checks the same and more; these tests need nothing but the files.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

import demitasse

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "src/demitasse/examples/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")


def text_of(page: Path) -> str:
    """Returns the text of a page without its code."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def entries() -> list[str]:
    return [name for page in REFERENCE for name in _ENTRY.findall(text_of(page))]


def anchors(page: Path) -> set[str]:
    """Returns the anchors of the headings, as the site and GitHub name them."""
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in _HEADING.findall(text_of(page)))
    return {re.sub(r"[\s-]+", "-", heading) for heading in words}


def targets(navigation: list[Any]) -> list[str]:
    """Returns the pages of a navigation."""
    found = []
    for item in navigation:
        for target in item.values() if isinstance(item, dict) else [item]:
            found += targets(target) if isinstance(target, list) else [target]
    return found


def test_every_public_name_has_an_entry_in_the_reference() -> None:
    assert sorted({f"demitasse.{name}" for name in demitasse.__all__} - set(entries())) == []


def test_no_entry_is_there_twice() -> None:
    assert sorted(name for name in set(entries()) if entries().count(name) > 1) == []


@pytest.mark.parametrize("module", ["optim", "packed", "export", "pycaffe", "formats"])
def test_the_entry_of_a_module_leaves_out_no_public_name(module: str) -> None:
    """A list of members must be complete; without a list, the entry shows all that have a docstring."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE)
    listed = re.search(rf"^::: demitasse\.{module}\n    options:\n(?:      .*\n)*?      members: \[(.*)\]", text, re.M)
    if listed:
        given = {*listed[1].split(", "), *(name.rpartition(".")[2] for name in entries())}
        assert sorted(set(import_module(f"demitasse.{module}").__all__) - given) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:transformers")
@pytest.mark.parametrize("name", entries())
def test_an_entry_is_of_something_that_exists(name: str) -> None:
    place, _, last = name.rpartition(".")
    parent = import_module(place) if place else None
    assert parent is None or hasattr(parent, last) or import_module(name)


def test_every_page_is_in_the_navigation_once() -> None:
    outside = {"index.md", "contributing.md", "changelog.md", "examples.md"}  # brought in by docs/_hooks/pages.py
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} | outside
    assert sorted(targets(CONFIGURATION["nav"])) == sorted(pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for path, anchor in _LINK.findall(text_of(page)):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(f"{path}#{anchor}")
    assert broken == []


CUP = '''"""See :func:`pour`, :class:`~cup.errors.SpillError` and :func:`gone`."""


def pour():
    """Raises a :class:`SpillError`; see :mod:`.errors`::

        pour()

    Then drink.
    """
'''


def test_roles_in_docstrings_become_references(tmp_path: Path) -> None:
    griffe = pytest.importorskip("griffe")
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup/__init__.py").write_text(CUP)
    (tmp_path / "cup/errors.py").write_text("class SpillError(Exception): ...\n")
    extensions = griffe.load_extensions(str(DOCS / "_hooks/docstrings.py"))
    cup = griffe.load("cup", search_paths=[tmp_path], extensions=extensions, resolve_aliases=True)
    known = "[`pour`][cup.pour], [`SpillError`][cup.errors.SpillError]"
    assert cup.docstring.value == f"See {known} and [`gone`][gone]."  # the strict build refuses what has no entry
    lines = cup["pour"].docstring.value.splitlines()
    assert lines[:3] == ["Raises a [`SpillError`][cup.errors.SpillError]; see [`errors`][cup.errors]", "", "    pour()"]
