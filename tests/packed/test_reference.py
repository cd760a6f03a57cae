"""The page of the format, as a second reader follows it: what goes in comes out, what is broken is refused."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.packed.codecs import CODECS, Context
from demitasse.packed.file import File
from demitasse.packed.header import Header, Payload, TensorEntry, blank
from demitasse.packed.reader import ByteReader, short
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import BY_NAME, DTYPES, Tensor, checksum_of, of_array
from demitasse.packed.writer import pack
from tests.packed.reference import Found, decode
from tests.packed.test_file import pruned, small
from tests.packed.test_golden import CASES, path

FLOAT = BY_NAME["float32"]


def found(tensor: Tensor, name: str | None = None) -> Found:
    """Returns a tensor as the second reader says it."""
    return name or tensor.name, tensor.dtype.name, tensor.shape, tensor.bits.tolist()


def coded(data: bytes) -> set[tuple[int, int]]:
    """Returns codecs and the flags that their settings begin with, as the file says them."""
    return {(entry.codec, (*entry.settings, 0)[0]) for entry in File(data).header.entries}


def net() -> list[Tensor]:
    """Returns what :func:`small` does not have: linked layers, layers that see images, lists of values, odd kernels."""
    rng = np.random.default_rng(0)
    # units and inputs of different density, so that it pays to know which layer came before
    unit, place = rng.choice([0.02, 0.7], 12), np.pad(np.ones((3, 3)), 1)
    seen = np.repeat(unit, 25) * np.tile(place.reshape(-1), 12)
    arrays = {
        "kernels": np.where(rng.random((12, 4, 2, 3)) < unit[:, None, None, None], pruned((12, 4, 2, 3), 1, 3), 0),
        "kernels' bias": pruned((12,), 1, 1),
        "images": np.where(rng.random((8, 300)) < seen, pruned((8, 300), 1, 2), 0),
        "line": rng.choice([0, 0, 0, 5, 9], (6, 5, 8)).astype(np.int16),
        "listed": rng.choice(np.float32([0, -0.3, 0.1, 0.7]), (20, 16)),
        "listed, none zero": rng.choice(np.float64([-0.3, 0.1, 0.7]), (20, 30)),
        "literal": pruned((20, 20), 0.1).astype(np.float16),
    }
    return [*small(), *(of_array(name, array) for name, array in arrays.items())]


def test_a_net() -> None:
    tensors, texts = net(), {"kind": "a net", "größe": "klein", "": ""}
    data = pack(tensors, texts, aliases={"tied": "fc1.weight", "tied too": "none"})
    held = {tensor.name: tensor for tensor in tensors}
    others = [found(held["fc1.weight"], "tied"), found(held["none"], "tied too")]
    assert decode(data) == (texts, [*map(found, tensors), *others])
    flags = coded(data)
    assert {0, 1, 2} == {codec for codec, _ in flags}
    # kinds of palettes with zeros; values without; linked ones, and those that say how kernels stand
    weights = {flag for codec, flag in flags if codec == 2}
    assert {flag & 3 for flag in weights if flag & 4} == {0, 1, 2}
    assert any(not flag & 4 for flag in weights)
    assert any(flag & 8 for flag in weights)
    assert any(flag & 16 for flag in weights)


@pytest.mark.parametrize("name", CASES)
def test_the_files_that_settle_the_format(name: str) -> None:
    given = CASES[name]
    held = {tensor.name: tensor for tensor in given["tensors"]}
    others = [found(held[tensor], alias) for alias, tensor in given.get("aliases", {}).items()]
    assert decode(path(name).read_bytes()) == (given.get("metadata", {}), [*map(found, given["tensors"]), *others])


def test_every_type_and_shape() -> None:
    tensors, rng = [], np.random.default_rng(1)
    for kind in DTYPES:
        for shape in ((), (7,), (3, 4), (2, 2, 2, 2), (2, 0)):
            stored = kind.stored(shape)
            size, most = int(np.prod(stored)), 2 if kind.name == "bool" else 256
            bits = rng.integers(0, most, size * kind.size).astype(np.uint8).view(kind.bits)
            tensors += [
                Tensor(f"any {kind.name} {shape}", kind, stored, bits),
                Tensor(f"few {kind.name} {shape}", kind, stored, rng.integers(0, 2, size).astype(kind.bits)),
            ]
    assert decode(pack(tensors, signed_zeros=True)) == ({}, [*map(found, tensors)])


def test_planes() -> None:
    rng = np.random.default_rng(2)
    rare, dense = pruned((128, 130), 0.02), rng.normal(size=(130, 128)).astype(np.float32)
    steps = np.exp2(np.arange(0, -8, -1))
    both = rng.random((128, 128)) < np.repeat(steps, 16)[:, None] * np.repeat(steps, 16)
    arrays = {
        "powers": pruned((128, 128), 0.05, 5),
        "small": pruned((5, 5), 0.3, 2),
        "listed": rng.choice(np.int16([0, 0, 0, -3, 700]), (256, 64)),
        "numbers": rare.view(np.int32) % 100_000 + 1,
        "no plane of zeros": rare,
        "floats": dense,
        "doubles": np.where(rare == 0, 0, rng.normal(size=rare.shape)).reshape(-1),
        "noise": rng.integers(0, 256, 1 << 14).astype(np.uint8),
        "rows": (rng.random((64, 256)) < np.repeat(steps, 8)[:, None]).astype(np.uint8),
        "columns": (rng.random((256, 64)) < np.repeat(steps, 8)).astype(np.uint8),
        "rows and columns": both.astype(np.float32),
        "behind": pruned((5, 5), 0.3, 2),
    }
    tensors = [of_array(name, array) for name, array in arrays.items()]
    data = pack(tensors, smallest=False)
    assert decode(data) == ({}, [*map(found, tensors)])
    assert {(3, 0), (3, 1), (3, 2), (3, 2 + 4)} <= coded(data)
    header, begins = File(data).header, {}
    end = len(data) - sum(payload.length for payload in header.payloads)
    for entry, payload in zip(header.entries, header.payloads, strict=True):
        begins[entry.name], end = [*data[end : end + 4]], end + payload.length
    assert begins["noise"][0] == 0
    assert [begins[name][2:] for name in ("rows", "columns", "rows and columns")] == [[8, 1], [1, 8], [4, 4]]


@pytest.mark.parametrize("shape", [(1025, 2, 256), (1, (1 << 19) + 3)], ids=["rows", "flat"])
def test_a_tensor_in_parts(shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, np.int8)
    values.reshape(-1)[:: (1 << 19) - 1] = 7
    tensor = of_array("cut", values)
    data = pack([tensor], smallest=False)
    assert len(File(data).header.payloads) == 2
    assert decode(data) == ({}, [found(tensor)])


def stands_for(entries: Sequence[TensorEntry], data: bytes) -> tuple[bytes, list[Tensor]]:
    """Returns a file of one payload of any bytes, and the tensors that they are."""
    stream, context, tensors = Stream(data), Context(), []
    for entry in entries:
        bits, context = CODECS[entry.codec].decode(blank(entry), ByteReader(entry.settings), stream, context)
        tensors.append(blank(entry)._replace(bits=bits))
    entries = [replace(entry, begins=entry is entries[0]) for entry in entries]
    payload = Payload(len(data), checksum_of(data, tensors))
    return Header(entries, [payload]).pack() + data, tensors


def test_what_no_writer_writes() -> None:
    """Noise stands for the same values in both readers: numbers beyond a palette, kernels whose last line is short."""
    listed = bytes.fromhex("3f000000 be800000 40490fdb")
    by_column = short(3 + 4, 2 + 4 * 2, 4, 110) + bytes([0, 3, 1, 9, 4, 2]) + bytes([0, 1, 2, 3, 1, 0])
    entries = [
        TensorEntry("whole numbers by rows", FLOAT, (3, 2, 4), 2, short(3 + 4, 0, 4, 110) + bytes([0, 3, 1])),
        TensorEntry("by the second dimension", FLOAT, (3, 6, 5), 2, by_column),
        TensorEntry(
            "powers by rows", BY_NAME["bfloat16"], (2, 30), 2, short(3, 1 + 4 * 3, 4, 110) + bytes([0, 3, 7, 1])
        ),
        TensorEntry("powers beyond the last", FLOAT, (9, 12), 2, short(0 + 4, 120, 4)),
        TensorEntry("powers beyond the type's", BY_NAME["float8_e4m3fn"], (9, 12), 2, short(0 + 4, 14, 4)),
        TensorEntry("linked, in uneven kernels", FLOAT, (9, 18), 2, short(0 + 4 + 8 + 16, 126, 0, 9, 4)),
        TensorEntry("one column", FLOAT, (9,), 2, short(0, 126, 0)),
        TensorEntry("still linked", FLOAT, (5, 3, 3), 2, short(1 + 4 + 8, 2) + listed),
        TensorEntry("linked without zeros", FLOAT, (5, 10), 2, short(1 + 8, 2) + listed),
        TensorEntry("one value", FLOAT, (4, 6), 2, short(1 + 4, 0) + listed[:4]),
        TensorEntry("no palette, no zeros", BY_NAME["int16"], (4, 6), 2, short(2)),
        TensorEntry("no palette", BY_NAME["bfloat16"], (4, 2, 3), 2, short(2 + 4)),
        TensorEntry("many values", BY_NAME["uint16"], (30, 10), 2, short(1, 299) + bytes(range(200)) * 3),
        TensorEntry("zeros", FLOAT, (3,), 0, b""),
        TensorEntry("numbers", BY_NAME["float64"], (3, 2), 1, b""),
    ]
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, 3000).astype(np.uint8).tobytes()
        data, tensors = stands_for(entries, noise)
        assert decode(data) == ({}, [*map(found, tensors)])
        assert [found(tensor) for tensor in File(data).tensors()] == [*map(found, tensors)]


def test_symbols_beyond_a_palette_in_a_plane() -> None:
    entry = TensorEntry("x", BY_NAME["float16"], (2, 128), 3, short(0, 12, 4))
    data, (tensor,) = stands_for([entry], b"\0" + bytes(range(256)))
    assert decode(data) == ({}, [found(tensor)])


@pytest.mark.parametrize("shape", [(0, 3), (0, (1 << 19) + 1), (3 << 20, 0)], ids=str)
def test_a_cut_tensor_without_values(shape: tuple[int, ...]) -> None:
    entry = TensorEntry("x", BY_NAME["int8"], shape, 3, short(2), cut=True)
    data = Header([entry], [Payload(1, zlib.crc32(b"\0"))]).pack() + b"\0"
    assert decode(data) == ({}, [("x", "int8", shape, [])])
    assert [tensor.shape for tensor in File(data).tensors()] == [shape]


def refused(data: bytes, message: str | None = None) -> None:
    """Checks that both readers refuse a file, and say why."""
    with pytest.raises(FileFormatError, match=message):
        list(File(data).tensors())
    with pytest.raises(ValueError, match=message):
        decode(data)


def test_what_is_cut_short_or_goes_on_is_refused() -> None:
    data = pack(small()[:2])
    for length in (*range(30), len(data) - 20, len(data) - 1):
        refused(data[:length])
    refused(data + b"\0")


def test_wrong_checksums_are_refused() -> None:
    data, (tensor,) = pack(small()[1:2]), small()[1:2]
    # the checksum of the header stands behind four bytes, the version, and two sizes of one byte each
    for place in (7, 10, 11, len(data) - 1):
        refused(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    header = File(data).header
    (payload,) = header.payloads
    end = len(data) - payload.length
    wrong = [replace(payload, checksum=payload.checksum ^ 1)]
    refused(replace(header, payloads=wrong).pack() + data[end:], "checksum|broken")
    # of the bytes without the values
    wrong = [replace(payload, checksum=zlib.crc32(data[end:]))]
    refused(replace(header, payloads=wrong).pack() + data[end:], "checksum|broken")
    assert decode(header.pack() + data[end:]) == ({}, [found(tensor)])


def test_a_stream_that_no_encoder_writes_is_refused() -> None:
    numbers = replace(zeros(codec=1), dtype=BY_NAME["uint8"])
    refused(Header([numbers], [Payload(9, 0)]).pack() + b"\xff" * 9, "four bytes of 255")


def zeros(name: str = "x", codec: int = 0, settings: bytes = b"", shape: tuple[int, ...] = (2, 6)) -> TensorEntry:
    return TensorEntry(name, FLOAT, shape, codec, settings)


def half(codec: int, settings: bytes) -> TensorEntry:
    return replace(zeros(codec=codec, settings=settings), dtype=BY_NAME["float16"])


@pytest.mark.parametrize(
    ("entries", "aliases", "message"),
    [
        ([zeros(), zeros()], {}, "same"),
        ([zeros()], {"x": "x"}, "same"),
        ([zeros(codec=4)], {}, "codec"),
        ([replace(zeros(), cut=True)], {}, "cut"),
        ([replace(zeros(), begins=False)], {}, "begin"),
        ([zeros(codec=3, settings=short(2)), replace(zeros("y"), begins=False)], {}, "begin"),
        ([zeros(shape=(1,) * 33)], {}, "dimensions"),
        ([replace(zeros(), dtype=BY_NAME["complex64"])], {}, "expected a last axis of 2"),
        ([replace(zeros(shape=()), dtype=BY_NAME["complex32"])], {}, "expected a last axis of 2"),
        ([zeros(shape=(1 << 40, 0, 1 << 9))], {}, "large|many"),
        ([zeros(codec=2, settings=b"\x86\x00")], {}, "shortest form"),
        ([zeros(codec=2, settings=short(32))], {}, "32|large"),
        ([zeros(codec=2, settings=short(3, 36, 0, 100) + b"\0\0")], {}, "36|large"),
        ([zeros(codec=2, settings=short(3, 2, 0, 100) + b"\0\0", shape=(6,))], {}, "second axis|dimension"),
        ([zeros(codec=2, settings=short(3, 0, 2048, 100) + b"\0\0")], {}, "magnitudes|large"),
        ([zeros(codec=2, settings=short(3, 1, 64, 100) + b"\0\0")], {}, "magnitudes|large"),
        ([zeros(codec=2, settings=short(3, 0, 6, 0) + b"\1\1")], {}, "does not have|below the normal"),
        ([zeros(codec=2, settings=short(3, 4, 6, 100) + b"\0\0\0\2")], {}, "does not have|fraction"),
        ([zeros(codec=2, settings=short(3, 0, 6, 252) + b"\0\1")], {}, "does not have|too large"),
        ([zeros(codec=2, settings=short(3, 1, 6, 248) + b"\0\1")], {}, "does not have|too large"),
        ([half(codec=2, settings=short(3, 16, 127, 10) + b"\0\0\0\17")], {}, "does not have|not exact"),
        ([half(codec=2, settings=short(3, 16, 127, 10) + b"\0\0\0")], {}, "cut short|too early"),
        ([zeros(codec=3, settings=short(3, 0, 127, 100) + b"\0\0")], {}, "values"),
        ([zeros(codec=3, settings=short(7, 0, 6, 100) + b"\0\0")], {}, "no plane of zeros"),
        ([replace(zeros(codec=2, settings=short(3, 0, 6, 1) + b"\0\0"), dtype=BY_NAME["int32"])], {}, "kind|integers"),
        ([zeros(codec=2, settings=short(4, 256, 0))], {}, "exponent|large"),
        ([zeros(codec=2, settings=short(4, 1, 64))], {}, "exponents|large"),
        ([zeros(codec=2, settings=short(5, 4096))], {}, "values|large"),
        ([zeros(codec=2, settings=short(6 + 16, 4, 2))], {}, "group"),
        ([zeros(codec=2, settings=short(6 + 16, 3, 0))], {}, "group"),
        ([zeros(codec=2, settings=short(6 + 16, 3, 4))], {}, "group"),
        ([zeros(codec=2, settings=short(6 + 8))], {}, "matrix|linked"),
        ([zeros(codec=2, settings=short(6), shape=(0, 6))], {}, "weights"),
        ([zeros(codec=2, settings=short(6), shape=(1 << 14, 1))], {}, "weights"),
        ([zeros(codec=3, settings=short(4, 1, 0))], {}, "no plane of zeros"),
        ([zeros(codec=3, settings=short(0, 1, 63))], {}, None),
        ([zeros(codec=3, settings=short(1, 128) + bytes(4 * 129))], {}, "values"),
        ([zeros(codec=3, settings=short(2))], {}, "cut short|too early"),
    ],
)
def test_wrong_headers_are_refused(entries: list[TensorEntry], aliases: dict[str, str], message: str | None) -> None:
    """With right checksums, but for one that is fine (None), as long as its payload is."""
    if message is None:
        data, (tensor,) = stands_for(entries, b"\0" + bytes(range(12)))
        assert decode(data) == ({}, [found(tensor)])
        return
    payloads = [Payload(0, zlib.crc32(bytes(48)))] * sum(entry.begins for entry in entries)
    refused(Header(entries, payloads, {}, aliases).pack(), message)


def test_a_short_in_more_bytes_than_it_needs_is_refused() -> None:
    data = pack([])
    assert data[4:5] == b"\1"
    refused(data[:4] + b"\x81\0" + data[5:], "shortest form")
    refused(data[:4] + b"\x81" + b"\x80" * 8 + b"\0" + data[5:], "short")


def test_two_pieces_of_metadata_of_the_same_key_are_refused() -> None:
    class Twice(dict[str, str]):
        def __len__(self) -> int:
            return 2

        def items(self) -> Any:
            return [("k", "1"), ("k", "2")]

    refused(Header([], [], Twice()).pack(), "metadata|key")
