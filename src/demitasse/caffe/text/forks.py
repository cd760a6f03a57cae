"""Fields of forks of Caffe that have no meaning here: they are accepted, with one warning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor

from demitasse.caffe import log, schema
from demitasse.caffe.text.fields import TextField, walk
from demitasse.errors import parameter

_PLACE = "upgrade_proto.cpp:137"  # where Caffe warns of ignored fields
_DEVICES = re.compile(r"\bdevice_id\s*:?\s*(\[[^\]]*\]|-?\w+)")


def warn_unused(text: str, message: Descriptor, name: str) -> None:
    """Warns, once per process, of fields and constants that are known but have no meaning here.

    Args:
        text: a text that protobuf has accepted.
        message: the descriptor of its message.
        name: the name of the file.
    """
    if not _unused_names().search(text):
        return
    lines: dict[str, list[str]] = {}
    for field in walk(text, message):
        if what := _unused(field):
            lines.setdefault(what, []).append(str(field.line))
    if lines:
        fields = ", ".join(f"{what} (line {', '.join(numbers)})" for what, numbers in lines.items())
        _warn_once(f"{name}: ignored these fields of other versions of Caffe: {fields}")


def keep_first_device(text: str, name: str) -> str:
    """Returns a solver's text with only its first ``device_id``, and warns if there are others."""
    found = [
        field
        for field in walk(text, schema.SolverParameter.DESCRIPTOR)
        if field.name == "device_id" and field.owner is schema.SolverParameter.DESCRIPTOR
    ]
    if len(found) < 2:
        return text
    numbers = [field.value for field in found]
    _warn_once(
        f"{name}:{found[1].line}: found {len(found)} values of device_id; only the first, {numbers[0]}, is used; "
        f"give {parameter('gpu', ','.join(numbers))} to train on all"
    )
    blanked = _DEVICES.sub(lambda match: "\n" * match[0].count("\n"), text)
    return f"{blanked}\ndevice_id: {numbers[0]}\n"


@cache
def _warn_once(message: str) -> None:
    log.warning(_PLACE, message)


def _unused(field: TextField) -> str | None:
    known = field.known
    if known is None:
        return None
    if known.GetOptions().deprecated:
        return field.name
    value = known.enum_type.values_by_name.get(field.value) if known.enum_type else None
    return f"{field.name}: {field.value}" if value is not None and value.GetOptions().deprecated else None


@cache
def _unused_names() -> re.Pattern[str]:
    """Returns a pattern for texts that may have such a field or constant, so that others need not be parsed."""
    file = schema.NetParameter.DESCRIPTOR.file
    names = {name for message in file.message_types_by_name.values() for name in _deprecated(message)}
    names |= {value.name for enum in file.enum_types_by_name.values() for value in enum.values if _is_deprecated(value)}
    return re.compile(rf"\b({'|'.join(sorted(names))})\b")


def _deprecated(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        if _is_deprecated(field):
            yield field.name


def _is_deprecated(described: object) -> bool:
    return bool(described.GetOptions().deprecated)  # type: ignore[attr-defined]
