"""Text of C: templates with ``$name`` for what is put in, indentation, tables, and names that are safe to write."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from string import Template

import numpy as np

_WIDTH = 110
# words that no identifier may be: of C99 and C++, and macros that compilers and Arduino define
WORDS = frozenset(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
    co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
    double dynamic_cast else enum explicit export extern false far final float for friend goto huge i386 if import inline
    int interrupt linux long module mutable namespace near new noexcept not not_eq nullptr operator or or_eq override
    private protected public register reinterpret_cast requires restrict return short signed sizeof static static_assert
    static_cast struct switch template this thread_local throw true try typedef typeid typename typeof union unix
    unsigned using virtual void volatile wchar_t while xor xor_eq
    abs bit bitClear bitRead bitSet bitWrite byte constrain cos degrees max min radians round sin sq stderr stdin stdout tan
    word B0 B1 DEFAULT F HIGH INPUT LOW NULL OUTPUT PI
    """.split()
)


def filled(template: str, **values: object) -> str:
    """Returns a template, without its common indentation, with values put in; those of several lines keep their place.

    A line that only puts in an empty text is dropped.
    """
    lines = []
    for line in textwrap.dedent(template).strip("\n").split("\n"):
        alone = re.fullmatch(r"( *)\$(\w+)", line)
        if alone:
            text = str(values[alone[2]])
            lines += [alone[1] + each if each else "" for each in text.split("\n")] if text else []
        else:
            lines.append(Template(line).substitute(values))
    return "\n".join(lines)


def comment(text: str) -> str:
    """Returns a text from a file as it may be written in a comment: letters, digits and a few signs of ASCII."""
    return re.sub(r"[^0-9A-Za-z_.+() -]", "_", text[:80])


def table(ctype: str, name: str, values: Sequence[object], flash: str) -> str:
    """Returns the definition of a constant table."""
    body = textwrap.fill(", ".join(map(str, values)) or "0", _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"static const {ctype} {name}[{max(len(values), 1)}] {flash} = {{\n{body}\n}};\n"


def float_literal(value: float) -> str:
    """Returns a float32 as C has it: the shortest decimal number that is read as the same."""
    return np.format_float_scientific(np.float32(value), trim="0") + "f"
