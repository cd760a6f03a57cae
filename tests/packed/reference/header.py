"""The plain header."""

from __future__ import annotations

import math

from tests.packed.reference.cursor import Cursor, check
from tests.packed.reference.entry import TYPES, Entry, read_settings

Header = tuple[dict[str, str], list[Entry], list[tuple[str, int]], list[tuple[int, int]]]


def read_header(header: Cursor) -> Header:
    """Returns metadata, tensors, other names with the tensor's number, and the payloads' lengths and checksums."""
    pieces, aliases, tensors = (header.short(1 << 20) for _ in range(3))
    metadata = {}
    for _ in range(pieces):
        key = header.text()
        check(key not in metadata, f"two pieces of metadata are called {key!r}")
        metadata[key] = header.take(header.short()).decode()
    names = [header.text() for _ in range(tensors + aliases)]
    check(len(set(names)) == len(names), "two names are the same")
    others = [(name, header.short()) for name in names[tensors:]]
    check(all(meant < tensors for _, meant in others), "another name for no tensor")

    entries = [Entry() for _ in range(tensors)]
    for entry, name, number in zip(entries, names, header.take(tensors), strict=False):
        check(number < len(TYPES), "no such type")
        entry.name, entry.type = name, TYPES[number]
    after_planes = True
    for entry, number in zip(entries, header.take(tensors), strict=True):
        check(number < 16, "no such codec")
        entry.codec, entry.cut, entry.begins = number >> 2, bool(number & 2), bool(number & 1)
        check(entry.codec == 3 or not entry.cut, "only codec 3 cuts")
        check(entry.begins or not (entry.codec == 3 or after_planes), "a tensor does not begin a payload")
        after_planes = entry.codec == 3
    dimensions = header.take(tensors)
    for entry, count in zip(entries, dimensions, strict=True):
        check(count <= 32, "too many dimensions")
        entry.shape = tuple(header.short() for _ in range(count))
        check("complex" not in entry.type[0] or entry.shape[-1:] == (2,), "complex values: expected a last axis of 2")
        check(math.prod(max(size, 1) for size in entry.shape) <= 1 << 48, "too many values")
    for entry in entries:
        if entry.codec >= 2:
            read_settings(header, entry)
    count = sum(len(entry.parts()) if entry.codec == 3 else entry.begins for entry in entries)
    lengths = [header.short(1 << 48) for _ in range(count)]
    checksums = [header.number(4) for _ in range(count)]
    header.end()
    return metadata, entries, others, list(zip(lengths, checksums, strict=True))
