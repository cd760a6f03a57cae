"""Compiled kernels: one for each set of options that a step needs, kept on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock

import llvmlite
from llvmlite import ir

from demitasse.files.cached import cache_folders, checked, checksum_of, write_cached
from demitasse.progress import announce
from demitasse.runtime.native.llvm import Library, Machine, object_file


@cache
def address(machine: Machine, build: Callable[..., ir.Module], *options: Hashable) -> int:
    """Returns the address of the kernel that ``build(machine, *options)`` describes."""
    text = str(build(machine, *options))
    key = f"{llvmlite.__version__}\n{machine}\n{text}".encode()
    name = f"kernel_{hashlib.sha256(key).hexdigest()[:40]}"
    with _LOCK:
        return _library().add(_object(text.replace('@"kernel"', f'@"{name}"'), name, machine), name)


_LOCK = Lock()


@cache
def _library() -> Library:
    return Library()


def folders() -> Iterator[Path]:
    """Yields where compiled kernels may lie."""
    return cache_folders("demitasse_kernels", Path(__file__))


def _object(text: str, name: str, machine: Machine) -> bytes:
    for folder in folders():
        if found := checked(folder / f"{name}.o"):
            return bytes(found)
    announce("kernels")
    code = object_file(text, machine)
    for folder in folders():
        with suppress(OSError):
            write_cached(folder / f"{name}.o", code, checksum_of([code]))
            break
    return code
