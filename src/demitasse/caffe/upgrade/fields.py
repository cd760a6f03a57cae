"""Sets fields of messages by name."""

from __future__ import annotations

from collections.abc import MutableSequence

from google.protobuf.message import Message


def set_field(message: Message, field: str, value: object) -> None:
    """Sets a field of any kind; to a repeated field, the value or all of its values are appended.

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
