"""Makes ``import caffe`` work for scripts and Python layers that were written for Caffe's own interface."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from demitasse.errors import UsageError

_OURS, _THEIRS = "demitasse.pycaffe", "caffe"


def install_as_caffe() -> None:
    """Makes ``import caffe`` and imports of its modules return this package from now on.

    Raises:
        UsageError: another package with this name has been imported already.
    """
    found = sys.modules.get(_THEIRS)
    if found is not None and found is not sys.modules[_OURS]:
        raise UsageError(f"another caffe has been imported already: {getattr(found, '__file__', None) or found!r}")
    sys.modules.update(_modules())


@contextmanager
def as_caffe() -> Iterator[None]:
    """Does the same as :func:`install_as_caffe`, but only inside a ``with`` statement."""
    before = {name: sys.modules.get(name) for name in _modules()}
    install_as_caffe()
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _modules() -> dict[str, ModuleType]:
    package = import_module(_OURS)
    names = [_OURS, *(info.name for info in pkgutil.walk_packages(package.__path__, f"{_OURS}."))]
    return {_THEIRS + name.removeprefix(_OURS): import_module(name) for name in names}
