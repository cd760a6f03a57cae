"""Reads the text files of nets and solvers. Errors name the file, the line and the nearest known field."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from demitasse.caffe import schema
from demitasse.caffe.text import faults
from demitasse.caffe.text.fields import Places, tokens, walk
from demitasse.caffe.text.forks import keep_first_device, warn_unused
from demitasse.errors import PrototxtError
from demitasse.files import system_path

M = TypeVar("M", bound=Message)


def read_net(path: str | Path) -> schema.NetParameter:
    """Reads a net's prototxt.

    Args:
        path: the text file.

    Returns:
        The NetParameter as written; :mod:`demitasse.caffe.upgrade` converts old forms.

    Raises:
        PrototxtError: the file is missing, or not a net; the message has file and line.
    """
    # blobs are numbers in a text, but bytes in the class that all other code uses
    return schema.NetParameter.FromString(read_net_text(path).SerializeToString())


def read_net_text(path: str | Path) -> schema.NetParameter:
    """Reads a net's prototxt for writing it as text again: blobs are repeated numbers; see :func:`read_net`."""
    message: schema.NetParameter = schema.text_message("NetParameter")()
    return parse(read_text(path), message, str(path))


def read_solver(path: str | Path) -> schema.SolverParameter:
    """Reads a solver's prototxt into a SolverParameter; ``trust_coef`` is an alias of ``local_gw_ratio``.

    If there are several ``device_id``, as forks allow, the first is used, with a warning that names the line.

    Raises:
        PrototxtError: the file is missing, or not a solver; the message has file and line.
    """
    text = re.sub(r"(?m)^(\s*)trust_coef(\s*:)", r"\1local_gw_ratio\2", read_text(path))
    return parse(keep_first_device(text, str(path)), schema.SolverParameter(), str(path))


def parse(text: str, message: M, name: str) -> M:
    """Parses protobuf text into ``message`` and returns it.

    Args:
        text: the text.
        message: the message to fill.
        name: the name of the file, for errors.

    Raises:
        PrototxtError: the text is not such a message; the message has a line for each error.
    """
    _check_strings(text, name)
    untyped: Any = message  # protobuf's types do not declare all attributes of messages
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            text_format.Parse(text, message)
    except text_format.ParseError as error:
        found = faults.explain(text, untyped.DESCRIPTOR, name)
        raise PrototxtError(found or f"{name}:{_structure(error)}") from error
    except DeprecationWarning:  # protobuf leaves an unknown escape to Python; Caffe refuses it
        escape = _UNKNOWN_ESCAPE.search(text)
        line = text.count("\n", 0, escape.start()) + 1 if escape else 1
        raise PrototxtError(f"{name}:{line}: unknown escape {escape and escape[0]!r} in a string") from None
    except UnicodeEncodeError as error:  # an escape for half of a surrogate pair
        raise PrototxtError(f"{name}: a string is not valid text: {error}") from error
    if missing := untyped.FindInitializationErrors():
        raise PrototxtError(f"{name}: required fields are missing: {', '.join(missing)}")
    warn_unused(text, untyped.DESCRIPTOR, name)
    return message


def _check_strings(text: str, name: str) -> None:
    """Refuses strings that no net needs and protobuf's parser cannot handle: very long ones, and invalid UTF-8."""
    if match := _LONG_STRING.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise PrototxtError(f"{name}:{line}: found a string of more than {_MOST_LETTERS} characters")
    if _NOT_UTF_8.search(text):
        for token, line in tokens(text):  # comments may contain any bytes
            if _NOT_UTF_8.search(token):
                raise PrototxtError(f"{name}:{line}: {token!r} is not UTF-8")


_NOT_UTF_8 = re.compile("[\udc80-\udcff]")
_MOST_LETTERS = 1 << 20
_LONG_STRING = re.compile(rf"""["'][^"'\n]{{{_MOST_LETTERS}}}""")
_UNKNOWN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\[^abfnrtvxXuU0-7\\'\"?]")


def places(path: str | Path) -> Places:
    """Returns the lines of a net's prototxt on which its layers and its inputs begin."""
    found = Places([], str(path))
    for field in walk(read_text(path), schema.NetParameter.DESCRIPTOR):
        if not field.owner or field.owner.name != "NetParameter":
            continue
        if field.value == "{" and field.name in ("layer", "layers"):
            found.layers.append(f"{path}:{field.line}")
        elif field.name == "input" and found.inputs == str(path):
            found = found._replace(inputs=f"{path}:{field.line}")
    return found


def read_text(path: str | Path) -> str:
    """Returns the text of a prototxt.

    Raises:
        PrototxtError: the file is missing, or not a text file.
    """
    try:
        data = Path(system_path(path)).read_bytes()
    except OSError as error:
        raise PrototxtError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # an invalid file name
        raise PrototxtError(f"{path!r}: cannot be read: {error}") from error
    if b"\0" in data:
        raise PrototxtError(f"{path}: not a text file (is it a caffemodel?)")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")


_LONG = 400  # characters of an error shown, since protobuf quotes the whole line


def _structure(error: text_format.ParseError) -> str:
    """Turns protobuf's message into ``line: what was found``."""
    detail = re.sub(r"^\d+:\d+ : ", "", str(error)).replace('"caffe.', '"')
    return f"{error.GetLine() or 1}: {detail if len(detail) < _LONG else '...' + detail[-_LONG:]}"
