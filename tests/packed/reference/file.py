"""The file: payloads, codecs, checksums."""

from __future__ import annotations

import zlib

from tests.packed.reference.arithmetic import Decoder
from tests.packed.reference.cursor import Cursor, check
from tests.packed.reference.entry import Entry, matrix
from tests.packed.reference.header import read_header
from tests.packed.reference.planes import decode_planes
from tests.packed.reference.text import decode_header, decode_numbers
from tests.packed.reference.weights import decode_matrix

Found = tuple[str, str, tuple[int, ...], list[int]]


def decode(data: bytes) -> tuple[dict[str, str], list[Found]]:
    """Reads a file.

    Returns:
        The metadata; and name, type, shape, and the bits of all values, of each tensor, then of each other name.

    Raises:
        ValueError: the page says that this is an error.
    """
    file = Cursor(data)
    check(file.take(4) == b"demi", "not a .demi file")
    version = file.short()
    check(version in (1, 2), "neither version 1 nor 2")
    plain, coded = file.short(1 << 28), file.short(1 << 28)
    start = data[: file.place]
    checksum, packed = file.number(4), file.take(coded)
    header = decode_header(Decoder(packed), plain)
    check(zlib.crc32(start + packed + header) == checksum, "the header is broken")
    metadata, entries, others, payloads = read_header(Cursor(header))
    check((version == 2) == any(entry.kind == 3 for entry in entries), "version 2 has scales, version 1 none")

    found: list[Found] = []
    rest = iter(payloads)
    decoder, units = Decoder(b""), list[int]()
    for i, entry in enumerate(entries):
        if entry.codec == 3:
            bits = []
            for shape in entry.parts():
                length, expected = next(rest)
                payload = file.take(length)
                part = decode_planes(payload, entry, shape, len(bits))
                check(zlib.crc32(payload + entry.stored(part)) == expected, "a payload is broken")
                bits += part
        else:
            if entry.begins:
                length, expected = next(rest)
                payload = file.take(length)
                decoder, units, now = Decoder(payload), [], zlib.crc32(payload)
            bits, units = decode_coded(decoder, entry, units)
            now = zlib.crc32(entry.stored(bits), now)
            if i + 1 == len(entries) or entries[i + 1].begins:
                check(now == expected, "a payload is broken")
        found.append((entry.name, entry.type[0], entry.shape, bits))
    file.end()
    return metadata, found + [(name, *found[meant][1:]) for name, meant in others]


def decode_coded(decoder: Decoder, entry: Entry, units: list[int]) -> tuple[list[int], list[int]]:
    """Returns the values of a tensor of codec 0, 1 or 2, and the counts that the next can be linked to."""
    width = entry.type[1]
    if entry.codec == 0:
        return [0] * entry.size, units
    decoder.expect_valid()
    if entry.codec == 1:
        return decode_numbers(decoder, entry.size, width), units
    columns = matrix(entry.shape)[1]
    symbols, counts = decode_matrix(decoder, entry, units)
    if columns > 1:
        units = counts
    if entry.kind != 2:
        return entry.values(symbols), units
    numbers = iter(decode_numbers(decoder, sum(counts), width))
    return [next(numbers) if symbol else 0 for symbol in symbols], units
