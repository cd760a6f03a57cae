"""Yields the fields of a protobuf text one by one with their lines, which protobuf's own parser does not provide."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

LAYERS = ("LayerParameter", "V1LayerParameter")  # the messages for layers
_NAMED, _NOTED = (*LAYERS, "V0LayerParameter"), ("name", "type")
_OPEN, _CLOSE = "{<", "}>"

# possessive repeats, so that a string of any length needs no memory for backtracking
_TOKEN = re.compile(
    r"""(?P<gap>\s++|\#[^\n]*+)|"(?:[^"\\\n]++|\\.)*+"?|'(?:[^'\\\n]++|\\.)*+'?|[{}<>\[\]:;,]|[^\s{}<>\[\]:;,"'#]++"""
)


class TextLayer:
    """A layer in the text.

    Attributes:
        line: the line where it begins.
        name: its name; empty until it has been read.
        type: its type; empty until it has been read.
    """

    def __init__(self, line: int) -> None:
        self.line = line
        self.name = ""
        self.type = ""


class TextField(NamedTuple):
    """A field in the text.

    Attributes:
        name: its name.
        line: the line of its name, from 1.
        owner: the descriptor of the message that contains it; None inside an unknown field.
        again: whether the message has had the field before.
        layer: the layer that contains it; None outside layers.
        value: its scalar value as written; ``{`` for a message.
    """

    name: str
    line: int
    owner: Descriptor | None
    again: bool
    layer: TextLayer | None
    value: str

    @property
    def known(self) -> FieldDescriptor | None:
        """The descriptor of the field; None if its message has no such field."""
        return self.owner.fields_by_name.get(self.name) if self.owner else None


class Places(NamedTuple):
    """The places of a net's layers and inputs in its file, as ``file:line``, for messages.

    Attributes:
        layers: the place of each ``layer { ... }`` or ``layers { ... }``, in order.
        inputs: the place of the net's first ``input``.
    """

    layers: list[str]
    inputs: str


class _Frame:
    """A message that is being parsed."""

    def __init__(self, owner: Descriptor | None, layer: TextLayer | None) -> None:
        self.owner, self.layer = owner, layer
        self.name, self.line = "", 0
        self.listed = False
        self.seen: set[str] = set()

    def field(self, value: str) -> TextField:
        again = self.name in self.seen and not self.listed
        return TextField(self.name, self.line, self.owner, again, self.layer, value)

    def end(self) -> None:
        """Ends a field, except inside a list of its values."""
        if not self.listed:
            self.seen.add(self.name)
            self.name = ""


def tokens(text: str) -> Iterator[tuple[str, int]]:
    """Yields the words, strings and punctuation of a text with their lines, without comments."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match["gap"] is None:
            yield match[0], line
        else:
            line += match[0].count("\n")


def walk(text: str, message: Descriptor) -> Iterator[TextField]:
    """Yields the fields of a text in order, each message before its fields.

    Ends early if the braces are not balanced.

    Args:
        text: a message in protobuf's text format.
        message: the descriptor of the message.
    """
    stack = [_Frame(message, None)]
    for token, line in tokens(text):
        frame = stack[-1]
        if token in _OPEN:
            frame.line = frame.line if frame.name else line
            field = frame.field("{")
            yield field
            frame.end()
            stack.append(_inside(field))
        elif token in _CLOSE:
            stack.pop()
            if not stack:
                return
        elif token == "[":
            frame.listed = True
        elif token == "]":
            frame.listed = False
            frame.end()
        elif token in ":;,":
            continue
        elif frame.name:
            yield _noted(frame.field(token))
            frame.end()
        elif token[0] not in "\"'":  # else the continuation of a string
            frame.name, frame.line = token, line


def _inside(field: TextField) -> _Frame:
    known = field.known
    owner = known.message_type if known else None
    is_layer = owner is not None and owner.name in LAYERS
    return _Frame(owner, TextLayer(field.line) if is_layer else field.layer)


def _noted(field: TextField) -> TextField:
    """Records the name or the type of a layer, and returns the field."""
    if field.layer and field.name in _NOTED and field.owner and field.owner.name in _NAMED:
        setattr(field.layer, field.name, field.value.strip("\"'"))
    return field
