"""Every registry of the package has a suite that is run over all its entries."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from demitasse.registry import Registry
from tests.test_architecture import modules

TESTS = Path(__file__).parents[1]
# what is tested with entries of another registry: kind -> file
ELSEWHERE = {
    "form of an operation": "export/test_layers.py",  # with every example of a layer
    "translation of layer type": "export/test_layers.py",
    "data": "test_demo.py",
}


def registries() -> Iterator[Registry[object]]:
    """Yields the registries that the modules of the package make."""
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation).startswith("Registry["):
                yield getattr(import_module(f"demitasse.{name}"), ast.unparse(node.target))


def imported(path: Path) -> Iterator[object]:
    """Yields what a file imports from the package by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("demitasse."):
            yield from (getattr(import_module(str(node.module)), alias.name, None) for alias in node.names)


REGISTRIES = {registry.kind: registry for registry in registries()}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_registry_has_a_suite(kind: str) -> None:
    if kind in ELSEWHERE:
        assert (TESTS / ELSEWHERE[kind]).exists()
        return
    suites = [path for path in (TESTS / "contract").glob("test_*.py") if path.name != Path(__file__).name]
    assert any(found is REGISTRIES[kind] for path in suites for found in imported(path)), (
        "write a suite for its entries"
    )


def test_kinds_are_told_apart() -> None:
    assert len(REGISTRIES) == sum(1 for _ in registries()) > len(ELSEWHERE)
    assert set(ELSEWHERE) < set(REGISTRIES)
