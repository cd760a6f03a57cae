"""Text of C: templates with ``$name`` for what is put in, indentation, tables, and names that are safe to write."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Sequence
from string import Template

import numpy as np

_WIDTH = 110
# of C99 and C++, macros that compilers and Arduino define, and what generated code has where fields are
_WORDS = frozenset(
    """
    abs alignas alignof and and_eq asm auto bit bitand bitClear bitor bitRead bitSet bitWrite bool break byte
    case catch char class co_await co_return co_yield compl concept const const_cast consteval constexpr
    constinit constrain continue cos decltype default degrees delete do double dynamic_cast else enum errno
    explicit export extern false far final float for friend goto huge i i386 if import inline input int
    interrupt linux long max min module mutable namespace near new noexcept not not_eq nullptr operator or
    or_eq output override private protected public radians register reinterpret_cast requires restrict return
    round short signed sin sizeof sq static static_assert static_cast stderr stdin stdout struct switch tan
    template this thread_local throw true try typedef typeid typename typeof union unix unsigned using virtual
    void volatile while word xor xor_eq
    """.split()  # noqa: SIM905
)


class TakenWords(Container[str]):
    """Words that no field may be: those of C and C++, of types, of macros, and what the net in C defines itself.

    Args:
        name: of the net in C.
    """

    def __init__(self, name: str) -> None:
        self._own = f"{name}_"

    def __contains__(self, word: object) -> bool:
        """Tells whether a word is taken; one in capitals may be a macro of a chip."""
        text = str(word)
        return text in _WORDS or text.isupper() or text.endswith("_t") or text.startswith(self._own)


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
