"""Damaged files whose checksums are right, so that the damage gets deep."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.packed import file as file_module
from demitasse.packed import header as header_module
from demitasse.packed.file import File
from demitasse.packed.header import Header, Payload, TensorEntry, parse
from demitasse.packed.reader import short
from demitasse.packed.tensor import BY_NAME, Tensor
from tests.hostile.test_demi import Anything
from tests.hostile.test_demi_headers import SIZES, bases, changed, made
from tests.packed.test_golden import CASES, path

# the largest file that is damaged: larger ones take long
_LARGEST = 2000
# values that are decoded so that the checksum can be mended
_MOST = 1 << 15


@cache
def seeds() -> tuple[tuple[Header, bytes], ...]:
    """Returns headers and payloads of files with all codecs, types and palettes."""
    found = list(bases())
    for name in CASES:
        data = path(name).read_bytes()
        if len(data) <= _LARGEST:
            header, end = parse(data, 1 << 30)
            found.append((header, data[end:]))
    return tuple(found)


def mutation(rng: random.Random) -> bytes:
    """Returns a file with another header or other payloads, with right checksums where there can be any."""
    header, payloads = rng.choice(seeds())
    kind = rng.randrange(4)
    plain = bytearray((changed(header, rng) if kind == 1 else header)._plain())
    checksums = 4 * sum(1 for entry in header.entries if entry.begins for _ in entry.parts)
    if kind == 2:
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(max(1, len(plain) - checksums))
            if rng.random() < 0.8:
                plain[at] = rng.choice([0, 1, 127, 128, 255, plain[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
            else:
                plain[at:at] = short(rng.choice(SIZES))
    broken = bytearray(payloads)
    if kind in (0, 3) and broken:
        if kind == 0:
            for _ in range(rng.randint(1, 3)):
                broken[rng.randrange(len(broken))] = rng.choice([0, 255, rng.randrange(256)])
        else:
            at = rng.randrange(len(broken))
            broken[at:] = rng.choice([bytes(len(broken) - at), rng.randbytes(len(broken) - at)])
    if rng.random() < 0.05:
        broken = broken[: rng.randrange(len(broken) + 1)]
    version = 1 + any(entry.settings and entry.settings[0] & 3 == 3 for entry in header.entries)
    if rng.random() < 0.02:
        version = 3 - version
    return mended(bytes(plain), bytes(broken), version)


def mended(plain: bytes, payloads: bytes, version: int) -> bytes:
    """Returns a file with the right checksums, or with others if it has none."""
    data = made(plain, payloads, version=version)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_module, "checksum_of", lambda *_: Anything())
        try:
            with File(data, 1 << 30, threads=1) as opened:
                if opened.header.nbytes > _MOST:
                    return data
                checksums = [header_module.checksum_of(*each) for each in _payloads(opened)]
        except FileFormatError:
            return data
    return made(plain[: len(plain) - 4 * len(checksums)] + b"".join(checksums_of(checksums)), payloads, version=version)


def checksums_of(numbers: Sequence[int]) -> list[bytes]:
    return [number.to_bytes(4, "little") for number in numbers]


def _payloads(opened: File) -> list[tuple[bytes, list[Tensor]]]:
    """Returns the bytes of each payload, and its tensors."""
    found = []
    for place in opened._places:
        data = opened._source.read(place.start, place.payload.length)
        found.append((data, [each.tensor for each in opened._decode(place)]))
    return found


def noise(rng: random.Random) -> bytes:
    """Returns a file of a few tensors with any settings, and a payload of noise."""
    entries: list[TensorEntry] = []
    for number in range(rng.randint(1, 4)):
        kind = rng.choice(list(BY_NAME.values()))
        shape = kind.stored(tuple(rng.choice([1, 2, 3, 5, 8, 12]) for _ in range(rng.randrange(5))))
        flags = rng.randrange(32)
        codec = rng.choice([0, 1, 2, 2, 2, 2])
        settings = b"" if codec < 2 else short(flags) + _palette(flags & 3, kind.size, shape, rng)
        if flags & 16 and codec == 2:
            columns = int(np.prod(shape[1:]))
            group = rng.choice([each for each in range(1, columns + 1) if columns % each == 0])
            settings += short(group, rng.randint(1, group))
        entries.append(TensorEntry(f"t{number}", kind, shape, codec, settings, number == 0))
    data = rng.choice([rng.randbytes(rng.randrange(400)), bytes(rng.randrange(9)), b"\xff" * rng.randrange(9)])
    header = Header(entries, [Payload(len(data), 0)])
    return mended(header._plain(), data, header.version)


def _palette(kind: int, size: int, shape: tuple[int, ...], rng: random.Random) -> bytes:
    if kind == 0:
        return short(rng.choice([1, 3, 8, 100, 250]), rng.choice([0, 1, 2, 4, 9, 40]))
    if kind == 1:
        count = rng.choice([1, 2, 3, 7, 30, 300])
        return short(count - 1) + rng.randbytes(count * size)
    if kind == 2:
        return b""
    powers, axis, m = rng.randrange(2), rng.randrange(2), rng.choice([0, 1, 3, 8])
    lines = (*shape, 1, 1)[axis]
    fractions = bytes(rng.randrange(1 << m) if rng.random() < 0.3 else 0 for _ in range(lines)) if m else b""
    exponents = bytes(rng.randrange(4) for _ in range(lines))
    return (
        short(powers + 2 * axis + 4 * m, rng.choice([0, 1, 3, 6, 7]), rng.choice([1, 5, 12, 110]))
        + exponents
        + fractions
    )
