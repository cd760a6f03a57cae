"""Compiled kernels: one for each set of options that a step needs, kept on the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
from llvmlite import ir

from demitasse.files.cached import write_cached
from demitasse.runtime.native.llvm import Library, Machine, object_file


@cache
def address(machine: Machine, build: Callable[..., ir.Module], *options: Hashable) -> int:
    """Returns the address of the kernel that ``build(machine, *options)`` describes."""
    library = Library(_object(build(machine, *options), machine))
    _LOADED.append(library)
    return library.address("kernel")


_LOADED: list[Library] = []


def folders() -> Iterator[Path]:
    """Yields where compiled kernels may lie: ``NUMBA_CACHE_DIR``, where loops are, this folder, the user's own."""
    if given := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(given, "demitasse_kernels")
    yield Path(__file__).parent / "__pycache__"
    # without a home folder, the name keeps its ~
    own = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    if own.is_absolute():
        yield own / "demitasse"


def _object(module: ir.Module, machine: Machine) -> bytes:
    text = f"{llvmlite.__version__}\n{machine}\n{module}".encode()
    name = f"kernel-{hashlib.sha256(text).hexdigest()[:40]}.o"
    for folder in folders():
        with suppress(OSError):
            stored = (folder / name).read_bytes()
            code, check = stored[:-32], stored[-32:]
            if hashlib.sha256(code).digest() == check:
                return code
    code = object_file(module, machine)
    for folder in folders():
        with suppress(OSError):
            write_cached(folder / name, code + hashlib.sha256(code).digest())
            break
    return code
