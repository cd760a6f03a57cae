"""Compiles loops at their first call, and caches them on disk for later processes.

The cache is optional: if no folder can be written, every process compiles its loops. Read-only folders work as well,
so that a container's image can include the loops (``python -m demitasse.warm``).
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from demitasse.files.cached import write_cached
from demitasse.progress import announce

# the exceptions of reading a file that is of another version, cut short, or not one of ours
_BROKEN = (OSError, EOFError, ValueError, TypeError, AttributeError, ImportError, LookupError, pickle.UnpicklingError)


_KEPT: set[Path] = set()


def njit(signatures: Sequence[Any] = (), *, cache: bool = True, **flags: Any) -> Callable[..., Any]:
    """Returns a decorator: numba's ``njit`` with an optional cache.

    Args:
        signatures: signatures to compile immediately; without any, the loop is compiled at its first call.
        cache: whether to cache the loop on disk, which is useless for a function that only loops call.
        flags: numba's flags; by default loops release Python's lock and do not raise on a division by zero.
    """
    flags = {"nogil": True, "error_model": "numpy", **flags}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher: Any = numba.njit(**flags)(function)
        if cache:
            dispatcher._cache = _Cache(function, flags)
        for signature in signatures:
            dispatcher.compile(signature)
        compiled: Callable[..., Any] = dispatcher
        return compiled

    return decorate


# for a function that only loops call: without wrappers for calls from Python and C, it compiles in half the time
inner = njit(cache=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


class _Cache(NullCache):
    """Files of compiled loops: reads from the first folder that has the file, writes to the first writable one.

    The key of a file includes all sources in the loop's folder, since loops call one another, the type of the
    processor, and the versions of Python and numba.
    """

    def __init__(self, function: Callable[..., Any], flags: dict[str, Any]) -> None:
        self._file = Path(function.__code__.co_filename)
        self._name = function.__qualname__
        self._flags = flags

    def load_overload(self, signature: Any, context: Any) -> Any:
        for path in self._paths(signature, context.codegen()):
            with suppress(*_BROKEN):
                return self._loaded(path.read_bytes(), context)
        announce("loops")
        return None

    def _loaded(self, data: bytes, context: Any) -> Any:
        if self._flags.get("parallel"):
            context.refresh()
        else:
            # a loop on one thread needs only this; the rest takes half a second
            rtsys.initialize(context)
        return CompileResult._rebuild(context, *pickle.loads(data))  # type: ignore[no-untyped-call]

    def save_overload(self, signature: Any, result: Any) -> None:
        data: bytes = dumps(result._reduce())  # type: ignore[no-untyped-call]
        for path in self._paths(signature, result.library.codegen):
            with suppress(OSError):
                write_cached(path, data)
                _KEPT.add(path.parent)
                return

    def _paths(self, signature: Any, codegen: Any) -> Iterator[Path]:
        facts = (
            self._file.name,
            self._name,
            signature,
            self._flags,
            codegen.magic_tuple(),
            numba.__version__,
            sys.version_info[:2],
        )
        key = hashlib.sha256(f"{facts} {_sources(self._file.parent)}".encode()).hexdigest()[:24]
        for folder in folders(self._file.parent):
            yield folder / f"{self._file.stem}-{key}.loop"


def kept() -> list[Path]:
    """Returns the folders that this process has written loops to."""
    return sorted(_KEPT)


def folders(package: Path) -> Iterator[Path]:
    """Yields the cache folders of a folder of sources: in ``NUMBA_CACHE_DIR``, in the sources, in the user's cache."""
    name = f"demitasse_{hashlib.sha256(str(package).encode()).hexdigest()[:16]}"
    if config.CACHE_DIR:  # type: ignore[attr-defined]
        yield Path(config.CACHE_DIR, name)  # type: ignore[attr-defined]
    yield package / "__pycache__"
    own = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)  # type: ignore[no-untyped-call]
    # without HOME it starts with a literal ~
    if own.is_absolute():
        yield own / name


@cache
def _sources(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()
