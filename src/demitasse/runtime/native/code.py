"""A short way to write kernels: loops, loads and stores as Python, LLVM's instructions as the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from llvmlite import ir

from demitasse.runtime.native.llvm import FLOAT, INT, LONG, POINTER, VOID, Machine

Operand: TypeAlias = "ir.Value"  # llvmlite has no types, so that a Python number may stand for one


class KernelCode:
    """The code of one kernel, ``void name(int64 *arguments, int64 thread, int64 threads)``.

    Args:
        name: of the kernel.
        machine: what it is for.
        arguments: names of its arguments: whole numbers; addresses, which begin with ``*``; float32, with ``.``.
    """

    def __init__(self, name: str, machine: Machine, arguments: str) -> None:
        self.module = ir.Module(name)
        self.lanes = machine.lanes
        self.vector = ir.VectorType(FLOAT, machine.lanes)
        kind = ir.FunctionType(VOID, [POINTER, LONG, LONG])
        self.function = ir.Function(self.module, kind, name)
        self.b = ir.IRBuilder(self.function.append_basic_block())
        block, self.thread, self.threads = self.function.args
        self.arguments: dict[str, Operand] = {}
        for index, word in enumerate(arguments.split()):
            address = self.b.gep(block, [LONG(index)], source_etype=LONG)
            kind = {"*": POINTER, ".": FLOAT}.get(word[0], LONG)
            self.arguments[word.lstrip("*.")] = self.b.load(address, typ=kind)

    def __getattr__(self, name: str) -> Operand:
        return self.__dict__["arguments"][name]

    def finish(self) -> ir.Module:
        """Ends the kernel."""
        self.b.ret_void()
        return self.module

    def number(self, value: Operand) -> Operand:
        """Returns an int64."""
        return LONG(value) if isinstance(value, int) else value

    def add(self, *values: Operand) -> Operand:
        """Returns a sum."""
        total = self.number(values[0])
        for value in values[1:]:
            total = self.b.add(total, self.number(value))
        return total

    def mul(self, left: Operand, right: Operand) -> Operand:
        """Returns a product."""
        return self.b.mul(self.number(left), self.number(right))

    def div(self, left: Operand, right: Operand) -> Operand:
        """Returns a quotient, rounded down."""
        return self.b.udiv(self.number(left), self.number(right))

    def rem(self, left: Operand, right: Operand) -> Operand:
        """Returns a remainder."""
        return self.b.urem(self.number(left), self.number(right))

    @contextmanager
    def loop(self, start: Operand, stop: Operand, step: Operand = 1) -> Iterator[Operand]:
        """Runs the body for each number from ``start``, below ``stop``."""
        start, stop, step = map(self.number, (start, stop, step))
        before = self.b.block
        head, body, after = (self.function.append_basic_block() for _ in range(3))
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(LONG)
        index.add_incoming(start, before)
        self.b.cbranch(self.b.icmp_signed("<", index, stop), body, after)
        self.b.position_at_end(body)
        yield index
        index.add_incoming(self.b.add(index, step), self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)

    def variable(self, value: Operand) -> Operand:
        """Returns the address of a variable with a first value, for :meth:`get` and :meth:`set`."""
        with self.b.goto_entry_block():
            place = self.b.alloca(value.type)
        self.b.store(value, place)
        place.kept = value.type
        return place

    def get(self, place: Operand) -> Operand:
        """Returns the value of a variable."""
        return self.b.load(place, typ=place.kept)

    def set(self, place: Operand, value: Operand) -> None:
        """Gives a variable a value."""
        self.b.store(value, place)

    def at(self, base: Operand, index: Operand, kind: ir.Type = FLOAT) -> Operand:
        """Returns the address of an entry."""
        return self.b.gep(base, [self.number(index)], source_etype=kind)

    def load(self, base: Operand, index: Operand, kind: ir.Type = FLOAT) -> Operand:
        """Returns an entry; integers are int64, unsigned if they are shorter than 32 bits."""
        found = self.b.load(self.at(base, index, kind), typ=kind)
        if kind == INT:
            return self.b.sext(found, LONG)
        return self.b.zext(found, LONG) if isinstance(kind, ir.IntType) and kind.width < 32 else found

    def store(self, value: Operand, base: Operand, index: Operand) -> None:
        """Stores a value as an entry of an array of its type."""
        self.b.store(value, self.at(base, index, value.type))

    def load_vector(self, base: Operand, index: Operand) -> Operand:
        """Returns the float32 values from an index on."""
        return self.b.load(self.at(base, index), typ=self.vector, align=4)

    def store_vector(self, value: Operand, base: Operand, index: Operand) -> None:
        """Stores float32 values from an index on."""
        self.b.store(value, self.at(base, index), align=4)

    def splat(self, value: Operand) -> Operand:
        """Returns a vector of one value."""
        if isinstance(value, float):
            return ir.Constant(self.vector, [value] * self.lanes)
        undefined = ir.Constant(self.vector, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(INT, self.lanes), [0] * self.lanes)
        return self.b.shuffle_vector(self.b.insert_element(undefined, value, INT(0)), undefined, zeros)

    def intrinsic(self, name: str, *operands: Operand) -> Operand:
        """Returns the result of one of LLVM's functions of float32 values or vectors of them, such as ``fma``."""
        kind = operands[0].type
        suffix = f"v{self.lanes}f32" if isinstance(kind, ir.VectorType) else "f32"
        full = f"llvm.{name}.{suffix}"
        if full not in self.module.globals:
            ir.Function(self.module, ir.FunctionType(kind, [kind] * len(operands)), full)
        return self.b.call(self.module.globals[full], operands)

    def fetch(self, address: Operand) -> None:
        """Asks for a line of memory before it is needed."""
        name = "llvm.prefetch.p0"
        if name not in self.module.globals:
            ir.Function(self.module, ir.FunctionType(VOID, [POINTER, INT, INT, INT]), name)
        self.b.call(self.module.globals[name], [address, INT(0), INT(3), INT(1)])

    def larger(self, left: Operand, right: Operand) -> Operand:
        """Returns the larger of two values, or NaN if one of them is."""
        taken = self.b.or_(self.b.fcmp_ordered(">", left, right), self.b.fcmp_unordered("uno", left, left))
        return self.b.select(taken, left, right)

    def share(self, count: Operand) -> tuple[Operand, Operand]:
        """Returns the first of this thread's numbers out of ``count``, and the one behind its last."""
        first = self.div(self.mul(count, self.thread), self.threads)
        return first, self.div(self.mul(count, self.add(self.thread, 1)), self.threads)
