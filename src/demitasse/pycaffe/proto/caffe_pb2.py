"""All messages and enums of caffe.proto, under the names that protobuf's compiler gives them.

The classes have their own descriptor pool, so that the process may also use another caffe.proto. Blobs have repeated
numbers. ``NetParameter`` reads and writes the field numbers of the compression fork and of Guo's repository,
distinguished by a layer's type (see :mod:`demitasse.caffe.schema.dialects`).
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import DecodeError

from demitasse.caffe import schema
from demitasse.caffe.schema import dialects
from demitasse.errors import FileFormatError

Message = Any  # a message whose fields are only known at run time

if TYPE_CHECKING:

    def __getattr__(name: str) -> Message: ...


def _described() -> Message:
    data = files(schema).joinpath("caffe.bin").read_bytes()
    file = descriptor_pb2.FileDescriptorSet.FromString(data).file[0]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(file.name)


DESCRIPTOR = _described()

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = EnumTypeWrapper(_enum)
    globals().update({_value.name: _value.number for _value in _enum.values})


def _read_dialects(net: Message) -> None:
    """Makes the class NetParameter convert between its private field numbers and those of files."""
    merge, parse = net.MergeFromString, net.ParseFromString
    serialize, serialize_partial = net.SerializeToString, net.SerializePartialToString

    def from_string(data: bytes) -> Message:
        message = net()
        parse(message, _private(data))
        return message

    net.FromString = staticmethod(from_string)
    net.ParseFromString = lambda self, data: parse(self, _private(data))
    net.MergeFromString = lambda self, data: merge(self, _private(data))
    net.SerializeToString = lambda self, **options: dialects.to_file_numbers(serialize(self, **options))
    net.SerializePartialToString = lambda self, **options: dialects.to_file_numbers(serialize_partial(self, **options))


def _private(data: bytes) -> bytes:
    try:
        return dialects.to_private_numbers(data)
    except FileFormatError as error:
        raise DecodeError(f"not a NetParameter: {error}") from error


_read_dialects(globals()["NetParameter"])
