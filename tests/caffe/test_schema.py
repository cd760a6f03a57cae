"""What type checkers read of the messages is what the messages are."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor

from demitasse.caffe import schema

FILE = schema.NetParameter.DESCRIPTOR.file


def written(body: Iterable[ast.stmt]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields every message of the stub, nested ones too: its name, and its fields with their types."""
    for node in body:
        if isinstance(node, ast.ClassDef) and ast.unparse(node.bases[0]) == "_message.Message":
            types = {ast.unparse(one.target): ast.unparse(one.annotation) for one in node.body if is_typed(one)}
            slots = next(ast.literal_eval(one.value) for one in node.body if isinstance(one, ast.Assign))
            yield node.name, {name: types[name] for name in slots}
            yield from written(node.body)


def is_typed(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign)


def described(messages: Iterable[Descriptor]) -> Iterator[tuple[str, list[str]]]:
    for message in messages:
        yield message.name, [field.name for field in message.fields]
        yield from described(message.nested_types)


def stub() -> dict[str, dict[str, str]]:
    text = Path(schema.__file__).with_name("messages_pb2.pyi").read_text(encoding="utf-8")
    return dict(written(ast.parse(text).body))


def test_the_stub_has_the_fields_of_all_messages() -> None:
    known = dict(described(FILE.message_types_by_name.values()))
    assert {name: sorted(fields) for name, fields in stub().items()} == {
        name: sorted(fields) for name, fields in known.items()
    }, "run make schema"


def test_blobs_are_bytes_and_enums_are_numbers() -> None:
    assert stub()["BlobProto"]["data"] == "bytes"
    assert stub()["NetState"]["phase"] == "int"
    assert stub()["PoolingParameter"]["pool"] == "int"


def test_every_message_goes_by_its_name() -> None:
    assert all(getattr(schema, name).DESCRIPTOR is each for name, each in FILE.message_types_by_name.items())
