"""One suite over every codec of .demi files: what it offers settings for comes back to the bit; damage does no harm."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.packed.codecs import CODECS, Codec, Context
from demitasse.packed.reader import ByteReader
from demitasse.packed.stream import Stream
from demitasse.packed.tensor import DTYPES, Bits, DType, Tensor

# the last is large enough for codecs of large tensors
SHAPES = [(), (0,), (0, 3), (1,), (17,), (6, 9), (3, 2, 2, 5), (8, 16), (16, 3, 3, 3), (64, 65)]
KINDS = ("zeros", "one value", "few values", "powers", "pruned powers", "pruned numbers", "scales", "any bits")
SLACK = 1 << 16  # bytes of memory that are no array

SHARING = [codec for codec in CODECS if not codec.alone]

each_codec = pytest.mark.parametrize("codec", CODECS, ids=[type(codec).__name__ for codec in CODECS])
each_type = pytest.mark.parametrize("dtype", DTYPES, ids=[dtype.name for dtype in DTYPES])


def tensor(dtype: DType, shape: tuple[int, ...], kind: str, seed: int = 0) -> Tensor:
    """Returns values of a kind, by their bits."""
    rng, stored = np.random.default_rng(seed), dtype.stored(shape)
    size, most = math.prod(stored), 2 if dtype.name == "bool" else 1 << 8 * dtype.size
    bits = rng.integers(0, most, size, dtype.bits, endpoint=False)
    if kind == "zeros":
        bits[:] = 0
    elif kind == "one value":
        bits[:] = most - 1
    elif kind == "few values":
        bits = rng.choice(bits[:5], size) if size else bits
    elif "powers" in kind and dtype.floating:  # a mantissa of zeros, and neighbouring exponents
        exponents = rng.integers(1, 5, size).astype(dtype.bits) << dtype.mantissa
        bits = exponents | (rng.integers(0, 2, size).astype(dtype.bits) << (8 * dtype.size - 1))
    elif kind == "scales" and dtype.mantissa >= 7:  # 1, 1.5 or 2 times a power of two for each row
        scales = rng.integers(5, 9, stored[:1] or 1).astype(dtype.bits) << dtype.mantissa
        halves = rng.choice(np.array([0, 1, 2], dtype.bits), (len(scales), size // max(1, len(scales))))
        bits = (scales[:, None] + (halves << (dtype.mantissa - 1))).reshape(-1)
    if "pruned" in kind:
        bits[rng.random(size) < 0.8] = 0
    return Tensor("weight", dtype, stored, bits.astype(dtype.bits))


def cases(codec: Codec, dtype: DType) -> Iterator[tuple[Tensor, bytes]]:
    """Yields tensors of a type with each of the settings that a codec offers for them."""
    for shape in SHAPES:
        for kind in KINDS:
            given = tensor(dtype, shape, kind)
            for settings in codec.settings(given, Context()):
                yield given, settings


def written(codec: Codec, given: Tensor, settings: bytes) -> bytes:
    stream = Stream()
    codec.encode(given, settings, stream, Context())
    return stream.close()


def read(codec: Codec, given: Tensor, settings: bytes, data: bytes) -> Bits:
    """Decodes a tensor of which only type and shape are known."""
    reader = ByteReader(settings)
    empty = given._replace(bits=np.zeros(0, given.dtype.bits))
    bits, _ = codec.decode(empty, reader, Stream(data), Context())
    reader.expect_end()
    return bits


@each_type
@each_codec
def test_values_come_back_to_the_bit(codec: Codec, dtype: DType) -> None:
    for given, settings in cases(codec, dtype):
        before = given.bits.copy()
        found = read(codec, given, settings, written(codec, given, settings))
        assert found.dtype == dtype.bits
        np.testing.assert_array_equal(found, before)
        np.testing.assert_array_equal(given.bits, before)  # what was given is as it was


@each_codec
def test_a_codec_is_tried(codec: Codec) -> None:
    tried = [given for dtype in DTYPES for given, _ in cases(codec, dtype)]
    assert {given.dtype for given in tried} == set(DTYPES), "give SHAPES or KINDS what it codes"
    assert any(given.size for given in tried)


@each_codec
def test_the_same_values_have_the_same_bytes(codec: Codec) -> None:
    for given, settings in examples(codec):
        assert written(codec, given, settings) == written(codec, given, settings)
        assert list(codec.settings(given, Context())) == list(codec.settings(given, Context()))


@each_codec
def test_memory_is_what_decoding_takes_at_most(codec: Codec) -> None:
    for given, settings in examples(codec):
        reader = ByteReader(settings)
        said = codec.memory(given, reader)
        reader.expect_end()
        data = written(codec, given, settings)
        tracemalloc.start()
        bits = read(codec, given, settings, data)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most <= said + bits.nbytes + 2 * len(data) + SLACK, (given.shape, settings)


@pytest.mark.parametrize("codec", SHARING, ids=[type(codec).__name__ for codec in SHARING])
def test_tensors_of_one_stream_come_back_in_order(codec: Codec) -> None:
    stream, context = Stream(), Context()
    wanted: list[tuple[Tensor, bytes]] = []
    for number, shape in enumerate([(8, 4), (8,), (6, 8, 3, 3), (5, 54)]):
        given = tensor(DTYPES[0], shape, "zeros" if number == 2 else "pruned powers", seed=number)
        # the last settings use most of what is known of the tensor before
        for settings in list(codec.settings(given, context))[-1:]:
            context = codec.encode(given, settings, stream, context)
            wanted.append((given, settings))
    assert wanted
    reading, context = Stream(stream.close()), Context()
    for given, settings in wanted:
        empty = given._replace(bits=np.zeros(0, given.dtype.bits))
        bits, context = codec.decode(empty, ByteReader(settings), reading, context)
        np.testing.assert_array_equal(bits, given.bits)


def examples(codec: Codec) -> list[tuple[Tensor, bytes]]:
    """Returns one case for each form of a codec's settings and shape, of a type with and without a mantissa."""
    found = {}
    for dtype in (DTYPES[0], DTYPES[2], DTYPES[5]):
        for given, settings in cases(codec, dtype):
            found[dtype.name, settings[:1], len(given.shape)] = (given, settings)
    return list(found.values())


def check_survives(codec: Codec, given: Tensor, settings: bytes, data: bytes) -> None:
    """Checks that any bytes are refused or give values of the right type and number: the file has a checksum."""
    try:
        bits = read(codec, given, settings, data)
    except FileFormatError:
        return
    assert bits.dtype == given.dtype.bits
    assert bits.shape == (given.size,)


@each_codec
def test_cut_and_damaged_streams_do_no_harm(codec: Codec) -> None:
    rng = np.random.default_rng(1)
    for given, settings in examples(codec):
        data = written(codec, given, settings)
        for end in sorted({0, 1, len(data) // 2, max(len(data) - 1, 0)}):
            check_survives(codec, given, settings, data[:end])
        check_survives(codec, given, settings, data + b"more")
        check_survives(codec, given, settings, rng.bytes(len(data)))
        for _ in range(10 if data else 0):
            broken = bytearray(data)
            broken[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            check_survives(codec, given, settings, bytes(broken))


@each_codec
def test_wrong_settings_do_no_harm(codec: Codec) -> None:
    rng = np.random.default_rng(2)
    for given, settings in examples(codec):
        data = written(codec, given, settings)
        ends = range(0, len(settings), max(1, len(settings) // 8))
        wrong = [settings[:end] for end in ends] + [settings + b"\1", b"\xff" * 12, rng.bytes(4)]
        for index in (*range(8), *rng.integers(8 * len(settings), size=8).tolist()) if settings else ():
            broken = bytearray(settings)
            broken[index // 8] ^= 1 << index % 8
            wrong.append(bytes(broken))
        for each in wrong:
            check_survives(codec, given, each, data)
            with suppress(FileFormatError):
                assert codec.memory(given, ByteReader(each)) >= 0


@each_codec
def test_settings_of_another_shape_do_no_harm(codec: Codec) -> None:
    for given, settings in examples(codec):
        data = written(codec, given, settings)
        for shape in ((), (0,), (3, 5), (2, 3, 3, 3)):
            check_survives(codec, given._replace(shape=given.dtype.stored(shape)), settings, data)
