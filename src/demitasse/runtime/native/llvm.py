"""Kernels in LLVM's intermediate representation: compiled at their first use, and kept on the disk.

llvmlite, which numba brings, contains the compiler: nothing else is needed.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir

FLOAT, BYTE, SHORT, INT, LONG = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
POINTER = ir.PointerType()
VOID = ir.VoidType()


class Machine(NamedTuple):
    """What kernels are compiled for.

    Attributes:
        triple: LLVM's name for architecture and system.
        cpu: LLVM's name for the processor.
        features: LLVM's list of what it can do.
        lanes: float32 values in a vector register.
        registers: number of vector registers.
    """

    triple: str
    cpu: str
    features: str
    lanes: int
    registers: int


@cache
def host() -> Machine:
    """Returns this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    has = llvm.get_host_cpu_features()
    features, triple, cpu = has.flatten(), llvm.get_default_triple(), llvm.get_host_cpu_name()
    if has.get("avx512f"):
        return Machine(triple, cpu, f"{features},-prefer-256-bit", 16, 32)
    return Machine(triple, cpu, features, 8 if has.get("avx2") else 4, 32 if triple.startswith("aarch64") else 16)


def object_file(text: str, machine: Machine) -> bytes:
    """Returns the object file of a module, given as LLVM's text."""
    parsed = llvm.parse_assembly(text)
    parsed.verify()
    target = llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu, features=machine.features, opt=3
    )
    parsed.triple, parsed.data_layout = machine.triple, str(target.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(parsed, builder)
    code: bytes = target.emit_object(parsed)
    return code


class Library:
    """The functions of object files, in memory as long as the library is."""

    def __init__(self) -> None:
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)

    def add(self, code: bytes, name: str) -> int:
        """Adds an object file; returns the address of its function of this name, which no other file has."""
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        found: int = self._engine.get_function_address(name)
        return found
