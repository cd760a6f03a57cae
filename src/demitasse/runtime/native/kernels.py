"""Compiled kernels: one for each set of options that a step needs, kept on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
from llvmlite import ir

from demitasse.files.cached import cache_folders, checked, with_checksum, write_cached
from demitasse.progress import announce
from demitasse.runtime.native.llvm import Library, Machine, object_file


@cache
def address(machine: Machine, build: Callable[..., ir.Module], *options: Hashable) -> int:
    """Returns the address of the kernel that ``build(machine, *options)`` describes."""
    library = Library(_object(build(machine, *options), machine))
    _LOADED.append(library)
    return library.address("kernel")


_LOADED: list[Library] = []


def folders() -> Iterator[Path]:
    """Yields where compiled kernels may lie."""
    return cache_folders("demitasse_kernels", Path(__file__))


def _object(module: ir.Module, machine: Machine) -> bytes:
    text = f"{llvmlite.__version__}\n{machine}\n{module}".encode()
    name = f"kernel-{hashlib.sha256(text).hexdigest()[:40]}.o"
    for folder in folders():
        if found := checked(folder / name):
            return bytes(found)
    announce("kernels")
    code = object_file(module, machine)
    for folder in folders():
        with suppress(OSError):
            write_cached(folder / name, with_checksum(code))
            break
    return code
