"""One suite over every compact format: a blob comes back exactly or is refused by name, and so are broken files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest

from demitasse.errors import FileFormatError, WeightsError
from demitasse.packed.compact import CODECS, Shape, decode, encode
from demitasse.packed.reader import ByteReader

Array = np.ndarray[Any, np.dtype[Any]]
Layers = dict[str, list[Array]]

# of a layer: weight and bias, or weight alone
SHAPES: dict[str, list[Shape]] = {"conv1": [(4, 2, 3, 3), (4,)], "ip": [(5, 60)], "conv10": [(3,), (7, 1)]}
EDGES: list[Shape] = [(), (0,), (0, 3), (1,), (1, 1, 1), (2, 3), (17,), (257,), (4097,)]
SIZES = [1, 2, 3, 7, 16, 17, 255, 256, 257, 1001]

each_codec = pytest.mark.parametrize("codec", list(CODECS))


def powers(rng: np.random.Generator, shape: Shape, density: float = 1.0, largest: int = -1) -> Array:
    """Returns zeros and powers of two with seven exponents up to the largest, which is there: every format holds them.

    Args:
        rng: where they come from.
        shape: of the blob.
        density: the share of values that are not zero, about.
        largest: the greatest exponent.
    """
    size = math.prod(shape)
    values = np.ldexp(np.float32(1), rng.integers(largest - 6, largest + 1, size)) * rng.choice([-1, 1], size)
    values[rng.random(size) >= density] = 0
    if size:
        values[rng.integers(size)] = 2.0**largest
    return values.astype(np.float32).reshape(shape)


def small(seed: int = 0) -> Layers:
    rng = np.random.default_rng(seed)
    return {name: [powers(rng, shape, 0.1) for shape in shapes] for name, shapes in SHAPES.items()}


def shapes_of(layers: Layers) -> dict[str, list[Shape]]:
    return {name: [array.shape for array in arrays] for name, arrays in layers.items()}


def check_equal(found: Layers, expected: Layers) -> None:
    assert list(found) == list(expected)
    for name, arrays in expected.items():
        for ours, theirs in zip(found[name], arrays, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, theirs, strict=True)


@contextmanager
def refused_or_right(kind: type[Exception], message: str) -> Iterator[None]:
    """Lets a block end as it should, or in an error of a kind whose message matches."""
    try:
        yield
    except kind as error:
        if not re.search(message, str(error)):
            raise


def round_trip(codec: str, layers: Layers) -> bytes:
    data = encode(codec, layers)
    check_equal(decode(codec, data, shapes_of(layers)), layers)
    return data


@each_codec
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [0.001, 0.05, 0.5, 1.0])
def test_quantized_blobs_come_back(codec: str, size: int, density: float) -> None:
    rng = np.random.default_rng([size, int(1000 * density)])
    weight, bias = powers(rng, (2, 3, size), density, 3), powers(rng, (size,), density, -4)
    round_trip(codec, {"conv1": [weight, bias], "no_bias": [bias[None]], "conv10": [bias, weight]})


VALUES: dict[str, list[float]] = {
    "zeros": [0, 0, 0],
    "powers": [1, -0.5, 2.0**-6],
    "powers far apart": [1, 2.0**-7],
    "small powers": [2.0**-123],
    "smallest": [2.0**-149, 2.0**-148],
    "largest": [2.0**127, -(2.0**127)],
    "one value for all": [0.3] * 20,
    "short fractions": [0.75, -1.5, 96],
    "any": [0.3, -2.7, 1e-3, 1e3],
    "far apart": [1e-38, 3e38],
    "near a power": [1, -0.0625 * 1.001],
    "infinite": [1, math.inf],
    "no number": [1, math.nan],
}


@each_codec
@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("place", [0, 1])
def test_values_come_back_or_are_refused_by_name(codec: str, kind: str, place: int) -> None:
    arrays = [np.ones(3, np.float32), np.ones(2, np.float32)]
    arrays[place] = np.array(VALUES[kind], np.float32)
    with refused_or_right(WeightsError, f"^layer 'ip1' {('weight', 'bias')[place]}: "):
        round_trip(codec, {"ip1": arrays})


@each_codec
@pytest.mark.parametrize("shape", EDGES, ids=str)
def test_blobs_of_any_shape_come_back(codec: str, shape: Shape) -> None:
    blob = powers(np.random.default_rng(1), shape, 0.5)
    if blob.size:
        round_trip(codec, {"ip": [blob], "ip2": [blob, blob]})
    else:  # a format may have no form for a blob without values
        with suppress(WeightsError):
            round_trip(codec, {"ip": [blob]})


@each_codec
def test_a_net_without_layers_takes_no_bytes(codec: str) -> None:
    assert encode(codec, {}) == b""
    assert decode(codec, b"", {}) == {}


@each_codec
def test_bytes_depend_on_the_values_alone(codec: str) -> None:
    layers = small()
    data = round_trip(codec, layers)
    assert encode(codec, layers) == data
    assert encode(codec, decode(codec, data, SHAPES)) == data
    spread = {name: [np.repeat(array[..., None], 2, -1)[..., 0] for array in found] for name, found in layers.items()}
    assert encode(codec, spread) == data
    turned = {name: [np.asfortranarray(array) for array in arrays] for name, arrays in layers.items()}
    assert encode(codec, turned) == data
    check_equal(small(), layers)  # what was given is as it was


@each_codec
def test_a_file_is_its_layers_one_after_the_other(codec: str) -> None:
    layers = small()
    parts = {name: CODECS[codec].encode(name, arrays) for name, arrays in layers.items()}
    assert b"".join(parts.values()) == encode(codec, layers)
    for name, part in parts.items():
        reader = ByteReader(part + b"more")
        check_equal({name: CODECS[codec].decode(reader, name, SHAPES[name])}, {name: layers[name]})
        assert reader.offset == len(part)


@each_codec
def test_more_than_weight_and_bias_is_refused(codec: str) -> None:
    with pytest.raises(WeightsError, match="layer 'bn': expected weight and bias, found 3 blobs"):
        encode(codec, {"bn": [np.ones(2, np.float32)] * 3})


@each_codec
def test_every_cut_is_noticed(codec: str) -> None:
    data = encode(codec, small())
    for end in range(len(data)):
        with pytest.raises(FileFormatError, match=r"^byte \d+: layer '\w+' .*expected \d+ bytes, found \d+"):
            decode(codec, data[:end], SHAPES)


@each_codec
def test_more_bytes_are_noticed(codec: str) -> None:
    data = encode(codec, small())
    with pytest.raises(FileFormatError, match=rf"byte {len(data)}: expected the end of the file, found 3 more bytes"):
        decode(codec, data + b"abc", SHAPES)


def check_survives(codec: str, data: bytes) -> None:
    """Checks that any bytes are refused with their place, or give arrays of the right shapes."""
    with refused_or_right(FileFormatError, r"^byte \d+: "):
        layers = decode(codec, data, SHAPES)
        assert shapes_of(layers) == SHAPES
        assert all(array.dtype == np.float32 for arrays in layers.values() for array in arrays)


@each_codec
def test_a_flipped_bit_is_refused_or_changes_values_alone(codec: str) -> None:
    data = encode(codec, small())
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        check_survives(codec, bytes(broken))


@each_codec
def test_random_bytes_are_refused_or_read(codec: str) -> None:
    rng, whole = np.random.default_rng(1), len(encode(codec, small()))
    for size in (*range(1, 400), whole - 1, whole, whole + 1):
        check_survives(codec, rng.bytes(size))


@each_codec
def test_bytes_of_a_net_with_more_layers_are_refused(codec: str) -> None:
    with pytest.raises(FileFormatError, match=r"^byte \d+: expected the end of the file"):
        decode(codec, encode(codec, small()), {"conv1": SHAPES["conv1"]})
