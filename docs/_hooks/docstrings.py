"""A griffe extension: what docstrings borrow from Sphinx becomes the Markdown of the site.

A role such as ``:class:`Surgery``` becomes a cross-reference to the object of that name, looked up in the module of the
docstring. The strict build fails if there is no such object, or if it has no entry in the reference.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Alias, Extension, Module, NameResolutionError, Object
from typing_extensions import override

_ROLE = re.compile(r":(?:class|data|func|meth|mod):`(~?\.?)([\w.]+)`")
_LITERAL_BLOCK = re.compile(r" *::$", re.MULTILINE)


class SphinxRoles(Extension):
    """Rewrites the docstring of every object that was loaded."""

    @override
    def on_package(self, *, pkg: Module, **kwargs: Any) -> None:
        """Lets every ``Raises`` name the exceptions, also in modules that do not import them."""
        for name, error in pkg["errors"].classes.items() if "errors" in pkg.members else ():
            if name not in pkg.members:
                pkg.set_member(name, Alias(name, error))
        _rewrite(pkg)

    @override
    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        _rewrite(obj)


def _rewrite(obj: Object) -> None:
    if obj.docstring:
        text = _ROLE.sub(lambda role: _reference(obj, *role.groups()), obj.docstring.value)
        obj.docstring.value = _LITERAL_BLOCK.sub("", text)


def _reference(place: Object, prefix: str, name: str) -> str:
    """Returns Markdown that links to an object; ``~`` before a name shows its last part alone."""
    shown = name.rpartition(".")[2] if "~" in prefix else name
    if prefix.endswith("."):
        name = f"{place.module.path}.{name}"
    return f"[`{shown}`][{_path(place, name)}]"


def _path(place: Object, name: str) -> str:
    """Returns the full path of what a name means in a docstring; where that is unknown, the name."""
    first, _, rest = name.partition(".")
    for scope in (place, *([place.parent] if place.parent else [])):
        try:
            found = scope.resolve(first)
        except NameResolutionError:
            continue
        return f"{found}.{rest}" if rest else found
    return name
