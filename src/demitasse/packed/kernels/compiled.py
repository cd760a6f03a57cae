"""How loops are compiled, and kept on the disk until one of this folder's files changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.runtime.nrt import rtsys

_FILES = sorted(Path(__file__).parent.glob("*.py"))
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in _FILES)).hexdigest()


class _Cache(FunctionCache):
    """Knows all sources: numba's own looks at the file of a loop alone, not at those of the loops that it calls."""

    def _index_key(self, *arguments: Any) -> tuple[Any, ...]:
        return (*super()._index_key(*arguments), _SOURCES)  # type: ignore[no-untyped-call]

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Loads a loop without all that compiling one would need: half a second, most of it for what is not used."""
        rtsys.initialize(context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, context)  # type: ignore[no-untyped-call]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, to be compiled at its first call, or taken from the disk; it runs without the lock."""
    dispatcher: Callable[..., Any] = njit(nogil=True)(function)
    dispatcher._cache = _Cache(function)  # type: ignore[attr-defined, no-untyped-call]
    return dispatcher
