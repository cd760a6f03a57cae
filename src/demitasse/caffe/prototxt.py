"""Text files: nets and solvers. Errors name the file, the line and the nearest known field."""

from __future__ import annotations

import re
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
    return parse(read_text(path), schema.NetParameter(), str(path))


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
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise PrototxtError(f"{name}:{_explain(error, message)}") from None
    missing = message.FindInitializationErrors()
    if missing:
        raise PrototxtError(f"{name}: {missing[0]} is missing, which must be given")
    return message


def layer_lines(path: str | Path) -> list[int]:
    """Returns the line (from 1) where each ``layer { ... }`` of the file begins, in order."""
    lines = []
    depth = 0
    for match in _STRUCTURE.finditer(read_text(path)):
        token = match.group()
        if token in "{<":
            depth += 1
        elif token in "}>":
            depth -= 1
        elif token == "layer" and depth == 0:
            lines.append(match.string.count("\n", 0, match.start()) + 1)
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


def _explain(error: text_format.ParseError, message: Any) -> str:
    """Turns protobuf's message into ``line: what was found, what is known``."""
    detail = re.sub(r"^\d+:\d+ : ", "", str(error)).replace('"caffe.', '"')
    line = error.GetLine() or 1
    unknown = re.search(r'Message type "([\w.]+)" has no field named "([^"]+)"', detail)
    if not unknown:
        return f"{line}: {detail}"
    kind, field = unknown.groups()
    if field == "layers" and kind == "NetParameter":
        return f"{line}: 'layers' is the form of nets from before 2014, which is not read yet; use 'layer'"
    owner = message.DESCRIPTOR.file.message_types_by_name.get(kind)
    known = [each.name for each in owner.fields] if owner else []
    return f"{line}: {kind} has no field {field!r}; {suggest(field, known)}"
