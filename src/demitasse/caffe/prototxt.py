"""Text files: nets and solvers. Errors name the file, the line and the nearest known field."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from demitasse.caffe import schema
from demitasse.errors import PrototxtError
from demitasse.registry import suggest


def read_net(path: str | Path) -> schema.Message:
    """Reads a net's prototxt.

    Args:
        path: the text file.

    Returns:
        The NetParameter as written; :mod:`demitasse.caffe.upgrade` brings old forms up to date.

    Raises:
        PrototxtError: the file is missing, or not a net; says file and line.
    """
    # blobs stand as numbers in a text, as bytes in the class that the rest works with
    return schema.NetParameter.FromString(read_net_text(path).SerializeToString())


def read_net_text(path: str | Path) -> schema.Message:
    """Reads a net's prototxt for a text to be made of it: blobs are repeated numbers; see :func:`read_net`."""
    return parse(read_text(path), schema.text_message("NetParameter")(), str(path))


def read_solver(path: str | Path) -> schema.Message:
    """Reads a solver's prototxt into a SolverParameter; ``trust_coef`` is taken for ``local_gw_ratio``.

    Raises:
        PrototxtError: the file is missing, or not a solver; says file and line.
    """
    text = re.sub(r"(?m)^(\s*)trust_coef(\s*:)", r"\1local_gw_ratio\2", read_text(path))
    return parse(text, schema.SolverParameter(), str(path))


def parse(text: str, message: Any, name: str) -> Any:
    """Parses protobuf text into ``message`` and returns it; ``name`` stands for the file in errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise PrototxtError(f"{name}:{_explain(error, message)}") from None
    except DeprecationWarning:  # protobuf passes an unknown escape on to Python; Caffe refuses it
        escape = _UNKNOWN_ESCAPE.search(text)
        line = text.count("\n", 0, escape.start()) + 1 if escape else 1
        raise PrototxtError(f"{name}:{line}: unknown escape {escape and escape[0]!r} in a string") from None
    if missing := message.FindInitializationErrors():
        raise PrototxtError(f"{name}: {', '.join(missing)}: needed, but not given")
    return message


_UNKNOWN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\[^abfnrtvxXuU0-7\\'\"?]")


def layer_lines(path: str | Path) -> list[int]:
    """Returns the line (from 1) where each ``layer { ... }``, or ``layers { ... }``, of the file begins, in order."""
    text = read_text(path)
    lines = []
    depth, line, counted = 0, 1, 0
    for match in _STRUCTURE.finditer(text):
        token = match.group()
        if token in "{<":
            depth += 1
        elif token in "}>":
            depth -= 1
        elif token in ("layer", "layers") and depth == 0:
            line, counted = line + text.count("\n", counted, match.start()), match.start()
            lines.append(line)
    return lines


# comments and strings are matched first, so that braces inside them are passed over
_STRUCTURE = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>]|\b[A-Za-z_]\w*\b""")


def read_text(path: str | Path) -> str:
    """Returns the text of a prototxt.

    Raises:
        PrototxtError: the file is missing, or not a text.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise PrototxtError(f"{path}: not a text file (is it a caffemodel?)") from None
    except OSError as error:
        raise PrototxtError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise PrototxtError(f"{path!r}: cannot be read: {error}") from None


_LONG = 400  # characters of an error: protobuf cites the whole line


def _explain(error: text_format.ParseError, message: Any) -> str:
    """Turns protobuf's message into ``line: what was found, what is known``."""
    detail = re.sub(r"^\d+:\d+ : ", "", str(error)).replace('"caffe.', '"')
    line = error.GetLine() or 1
    if constant := re.search(r'Enum type "([\w.]+)" has no value named ["\']?(\w+)', detail):
        values = message.DESCRIPTOR.file.pool.FindEnumTypeByName(f"caffe.{constant[1]}").values_by_name
        return f"{line}: {constant[1]} has no value {constant[2]!r}; {suggest(constant[2], list(values))}"
    unknown = re.search(r'Message type "([\w.]+)" has no field named "([^"]+)"', detail)
    if not unknown:
        return f"{line}: {detail if len(detail) < _LONG else '...' + detail[-_LONG:]}"
    kind, field = unknown.groups()
    owner = message.DESCRIPTOR.file.message_types_by_name.get(kind)
    known = [each.name for each in owner.fields] if owner else []
    return f"{line}: {kind} has no field {field!r}; {suggest(field, known)}"
