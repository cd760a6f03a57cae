"""The fields of a protobuf text one by one, with their lines: what protobuf's own parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

LAYERS = ("LayerParameter", "V1LayerParameter")  # the messages that are layers
_NAMED, _NOTED = (*LAYERS, "V0LayerParameter"), ("name", "type")
_OPEN, _CLOSE = "{<", "}>"

# the repeats give nothing back: a string of any length takes no memory of its own
_TOKEN = re.compile(
    r"""(?P<gap>\s++|\#[^\n]*+)|"(?:[^"\\\n]++|\\.)*+"?|'(?:[^'\\\n]++|\\.)*+'?|[{}<>\[\]:;,]|[^\s{}<>\[\]:;,"'#]++"""
)


class TextLayer:
    """A layer of the text.

    Attributes:
        line: where it begins.
        name: as far as it has been read.
        type: likewise.
    """

    def __init__(self, line: int) -> None:
        self.line = line
        self.name = ""
        self.type = ""


class TextField(NamedTuple):
    """A field of the text.

    Attributes:
        name: of the field.
        line: where the name is, from 1.
        owner: the kind of message that it is in; None inside of what is not known.
        again: whether the message had the field before.
        layer: the layer that it is in; None outside of layers.
        value: its scalar value as it is written; ``{`` for a message.
    """

    name: str
    line: int
    owner: Descriptor | None
    again: bool
    layer: TextLayer | None
    value: str

    @property
    def known(self) -> FieldDescriptor | None:
        """What the field is; None where its message has no such field."""
        return self.owner.fields_by_name.get(self.name) if self.owner else None


class Places(NamedTuple):
    """The lines of a net's file on which its layers and its inputs are, as ``file:line``, for messages.

    Attributes:
        layers: where each ``layer { ... }``, or ``layers { ... }``, begins, in order.
        inputs: where the net's first ``input`` is.
    """

    layers: list[str]
    inputs: str


class _Frame:
    """A message that is being read."""

    def __init__(self, owner: Descriptor | None, layer: TextLayer | None) -> None:
        self.owner, self.layer = owner, layer
        self.name, self.line = "", 0
        self.listed = False
        self.seen: set[str] = set()

    def field(self, value: str) -> TextField:
        again = self.name in self.seen and not self.listed
        return TextField(self.name, self.line, self.owner, again, self.layer, value)

    def end(self) -> None:
        """Ends a field, unless a list of its values goes on."""
        if not self.listed:
            self.seen.add(self.name)
            self.name = ""


def tokens(text: str) -> Iterator[tuple[str, int]]:
    """Yields the words, strings and signs of a text, comments left out, with their lines."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match["gap"] is None:
            yield match[0], line
        else:
            line += match[0].count("\n")


def walk(text: str, message: Descriptor) -> Iterator[TextField]:
    """Yields the fields of a text in order, each message before what it holds.

    It ends early where the text is not balanced.

    Args:
        text: of a message in protobuf's text format.
        message: its kind.
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
        elif token[0] not in "\"'":  # else the further part of a string
            frame.name, frame.line = token, line


def _inside(field: TextField) -> _Frame:
    known = field.known
    owner = known.message_type if known else None
    is_layer = owner is not None and owner.name in LAYERS
    return _Frame(owner, TextLayer(field.line) if is_layer else field.layer)


def _noted(field: TextField) -> TextField:
    """Notes the name and the type of a layer."""
    if field.layer and field.name in _NOTED and field.owner and field.owner.name in _NAMED:
        setattr(field.layer, field.name, field.value.strip("\"'"))
    return field
