"""Fields of messages, set by name."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

from google.protobuf.message import Message


def set_field(message: Any, field: str, value: Any) -> None:
    """Sets a field of any kind; to a repeated one the value, or all of its values, are appended.

    Raises:
        ValueError: the value is out of the field's range.
    """
    old = getattr(message, field)
    if isinstance(old, MutableSequence):
        old.extend(value if isinstance(value, MutableSequence) else [value])
    elif isinstance(value, Message):
        old.CopyFrom(value)
    else:
        setattr(message, field, value)
