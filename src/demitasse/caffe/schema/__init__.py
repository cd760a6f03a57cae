"""The messages of Caffe's files, as protobuf classes in a descriptor pool of their own.

The private pool lets another caffe.proto live in the same process. The numbers of a blob are read as raw
``bytes`` (little-endian float32 or float64), which is the same wire format as packed numbers and makes reading
a model as fast as reading the file; :func:`text_message` gives the class with repeated numbers, for printing.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Messages are typed Any: their classes are made at run time from caffe.bin.
Message = Any

_PACKED_NUMBERS = {"data", "diff", "double_data", "double_diff"}


@cache
def _pool(raw_blobs: bool) -> descriptor_pool.DescriptorPool:
    described = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath("caffe.bin").read_bytes())
    file = described.file[0]
    if raw_blobs:
        blob = next(message for message in file.message_type if message.name == "BlobProto")
        for field in blob.field:
            if field.name in _PACKED_NUMBERS:
                field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                field.ClearField("options")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _message_class(name: str, raw_blobs: bool = True) -> Any:
    return message_factory.GetMessageClass(_pool(raw_blobs).FindMessageTypeByName(f"caffe.{name}"))


def text_message(name: str) -> Any:
    """Returns the class of message ``name`` whose blobs hold repeated numbers instead of bytes."""
    return _message_class(name, raw_blobs=False)


BlobProto = _message_class("BlobProto")
BlobShape = _message_class("BlobShape")
Datum = _message_class("Datum")
FillerParameter = _message_class("FillerParameter")
LayerParameter = _message_class("LayerParameter")
NetParameter = _message_class("NetParameter")
NetState = _message_class("NetState")
ParamSpec = _message_class("ParamSpec")
SolverParameter = _message_class("SolverParameter")
SolverState = _message_class("SolverState")

TRAIN: int = 0
TEST: int = 1
