"""How loops are compiled: at their first call, and kept on the disk for later processes.

A cache is a help, not a need: where no folder can be written, loops are compiled in every process. Folders that can
only be read serve as well, so that a container's image may bring the loops along (``python -m demitasse.warm``).
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
from uuid import uuid4

import numba
from numba import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

# what a file of another version, cut short or not one of ours, gives when it is read
_BROKEN = (OSError, EOFError, ValueError, TypeError, AttributeError, ImportError, LookupError, pickle.UnpicklingError)


_KEPT: set[Path] = set()


def njit(signatures: Sequence[Any] = (), *, cache: bool = True, **flags: Any) -> Callable[..., Any]:
    """Returns a decorator: numba's ``njit``, with a cache that may be missing.

    Args:
        signatures: compiled at once; without any, at the first call.
        cache: whether the loop is kept on the disk; one that only other loops call need not be.
        flags: numba's; loops run without Python's lock unless they say otherwise.
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


# of a function that loops alone call: without what Python would call it by, it is compiled in half the time
inner = njit(cache=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)


class _Cache(NullCache):
    """Files of compiled loops, in the first folder that has one, or that takes one.

    A loop's file is for the loop's source and all beside it, as one loop calls the others; the type of the processor,
    and the versions of Python and numba.
    """

    def __init__(self, function: Callable[..., Any], flags: dict[str, Any]) -> None:
        self._file = Path(function.__code__.co_filename)
        self._name = function.__qualname__
        self._flags = flags

    def load_overload(self, signature: Any, context: Any) -> Any:
        for path in self._paths(signature, context.codegen()):
            with suppress(*_BROKEN):
                return self._loaded(path.read_bytes(), context)
        _announce()
        return None

    def _loaded(self, data: bytes, context: Any) -> Any:
        if self._flags.get("parallel"):
            context.refresh()
        else:
            # all that a loop needs which runs on one thread; the rest takes half a second
            rtsys.initialize(context)
        return CompileResult._rebuild(context, *pickle.loads(data))  # type: ignore[no-untyped-call]

    def save_overload(self, signature: Any, result: Any) -> None:
        data: bytes = dumps(result._reduce())  # type: ignore[no-untyped-call]
        for path in self._paths(signature, result.library.codegen):
            with suppress(OSError):
                _write(path, data)
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
    """Returns the folders that loops were written to, by this process."""
    return sorted(_KEPT)


def folders(package: Path) -> Iterator[Path]:
    """Yields where compiled loops of a folder of sources may lie: ``NUMBA_CACHE_DIR``, the sources, the user's own."""
    name = f"demitasse_{hashlib.sha256(str(package).encode()).hexdigest()[:16]}"
    if config.CACHE_DIR:  # type: ignore[attr-defined]
        yield Path(config.CACHE_DIR, name)  # type: ignore[attr-defined]
    yield package / "__pycache__"
    own = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)  # type: ignore[no-untyped-call]
    # without HOME it starts with a ~ that means nothing
    if own.is_absolute():
        yield own / name


def _write(path: Path, data: bytes) -> None:
    """Writes a file at once: another process may read it, or write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.with_suffix(f".{uuid4().hex}.tmp")
    try:
        own.write_bytes(data)
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)


@cache
def _sources(folder: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))).hexdigest()


@cache
def _announce() -> None:
    """Says, once and on a terminal, why nothing seems to happen."""
    if sys.stderr is not None and sys.stderr.isatty():
        print("compiling loops for this machine: some seconds, at the first use alone", file=sys.stderr, flush=True)
