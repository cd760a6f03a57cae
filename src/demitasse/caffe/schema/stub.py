"""Writes the types of the messages for type checkers, ``messages_pb2.pyi``: ``python -m demitasse.caffe.schema.stub``.

``make schema`` runs it. There is no such module at run time, when the classes are made from ``caffe.bin``.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import descriptor_pb2

from demitasse.caffe.schema import pool


def write(folder: Path) -> None:
    """Writes the types to a folder, with the numbers of blobs as ``bytes``; needs grpcio-tools."""
    from grpc_tools import protoc

    described = descriptor_pb2.FileDescriptorSet()
    pool(True).FindFileByName("caffe.proto").CopyToProto(described.file.add())
    described.file[0].name = "messages.proto"
    with TemporaryDirectory() as place:
        source = Path(place, "messages.bin")
        source.write_bytes(described.SerializeToString())
        protoc.main(["protoc", f"--descriptor_set_in={source}", f"--pyi_out={folder}", "messages.proto"])
    path = folder / "messages_pb2.pyi"
    path.write_text(_made_plain(path.read_text(encoding="utf-8")), encoding="utf-8")


def _made_plain(text: str) -> str:
    """Returns the text with ``int`` as the type of enum fields, and a typed DESCRIPTOR in every message."""
    names = "|".join(re.findall(r"class (\w+)\(int, ", text))
    enum = rf"(?:\w+\.)*(?:{names})"
    text = re.sub(rf"(?m)^( +[a-z]\w*): {enum}$", r"\1: int", text)
    text = re.sub(rf"RepeatedScalarFieldContainer\[{enum}\]", "RepeatedScalarFieldContainer[int]", text)
    text = re.sub(rf"_Union\[{enum}, str\]", "_Union[int, str]", text)
    return re.sub(r"(?m)^( *)class .*Message\):$", r"\g<0>\n\1    DESCRIPTOR: _descriptor.Descriptor", text)


if __name__ == "__main__":
    write(Path(__file__).parent)
