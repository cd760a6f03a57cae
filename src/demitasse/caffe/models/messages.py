"""Reads binary protobuf files into messages, with errors for files that are cut short or have invalid text."""

from __future__ import annotations

from collections.abc import MutableSequence
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from demitasse.errors import FileFormatError
from demitasse.files import system_path

M = TypeVar("M", bound=Message)


def read_bytes(path: str | Path) -> bytes:
    """Returns the content of a file.

    Raises:
        FileFormatError: the file is missing, cannot be read, or is empty.
    """
    try:
        data = Path(system_path(path)).read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # an invalid file name
        raise FileFormatError(f"{path!r}: cannot be read: {error}") from error
    if not data:
        raise FileFormatError(f"{path}: the file is empty")
    return data


def is_hdf5(data: bytes) -> bool:
    """Returns whether the content of a file is HDF5, which Caffe writes instead of binary protobuf if asked to."""
    return data.startswith(b"\x89HDF\r\n\x1a\n")


def parse_message(message: M, data: bytes, path: str | Path) -> M:
    """Parses serialized protobuf into ``message`` and returns it.

    Raises:
        FileFormatError: the data is cut short or not such a message.
    """
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise FileFormatError(f"{path}: not a {type(message).__name__}: {error}") from error
    try:
        _check_strings(message)
    except FileFormatError as error:
        raise error.within(str(path)) from error
    return message


def _check_strings(message: Message) -> None:
    """Raises FileFormatError for a string that is not UTF-8, which protobuf returns as bytes."""
    for field, value in message.ListFields():
        values = value if isinstance(value, MutableSequence) else (value,)
        if field.type == field.TYPE_STRING and any(isinstance(each, bytes) for each in values):
            raise FileFormatError(f"{field.full_name.removeprefix('caffe.')} is not UTF-8 text: {value!r}")
        if field.message_type and field.message_type.name != "BlobProto":
            for each in values:
                _check_strings(each)
