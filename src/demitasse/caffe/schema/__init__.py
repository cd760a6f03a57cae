"""The messages of Caffe's files, as protobuf classes in a descriptor pool of their own.

The private pool allows another caffe.proto in the same process. The numbers of a blob are read as raw ``bytes``
(little-endian float32 or float64), which is the same wire format as packed numbers and makes reading a model as fast
as reading the file; :func:`text_message` returns the class with repeated numbers, for printing.

This module has all messages by name. The classes are made at run time; type checkers read ``messages_pb2.pyi``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message as Message

_PACKED_NUMBERS = {"data", "diff", "double_data", "double_diff"}


@cache
def pool(raw_blobs: bool, /) -> descriptor_pool.DescriptorPool:
    """Returns the descriptors of all messages, with the numbers of blobs as ``bytes`` or as repeated numbers."""
    described = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("caffe.bin").read_bytes())
    file = described.file[0]
    if raw_blobs:
        blob = next(message for message in file.message_type if message.name == "BlobProto")
        for field in blob.field:
            if field.name in _PACKED_NUMBERS:
                field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                field.ClearField("options")
    made = descriptor_pool.DescriptorPool()
    made.Add(file)
    return made


def _message_class(name: str, raw_blobs: bool = True) -> Any:
    return message_factory.GetMessageClass(pool(raw_blobs).FindMessageTypeByName(f"caffe.{name}"))


def text_message(name: str) -> Any:
    """Returns the class of message ``name`` in which blobs have repeated numbers instead of bytes."""
    return _message_class(name, raw_blobs=False)


if TYPE_CHECKING:
    from demitasse.caffe.schema.messages_pb2 import *  # noqa: F403
else:
    for _name in pool(True).FindFileByName("caffe.proto").message_types_by_name:
        globals()[_name] = _message_class(_name)
    TRAIN, TEST = 0, 1
