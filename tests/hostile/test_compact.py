"""Broken files of each compact format: the error says where; what all have in common is in tests/contract."""

from __future__ import annotations

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.packed.compact import Shape, decode, encode

SHAPES: dict[str, list[Shape]] = {"conv1": [(4, 2, 3, 3), (4,)], "ip": [(5, 60)]}


def small_file(codec: str) -> bytes:
    rng = np.random.default_rng(0)
    layers = {}
    for name, shapes in SHAPES.items():
        layers[name] = [
            (np.ldexp(np.float32(1), rng.integers(-6, 1, s)) * (rng.random(s) < 0.1)).astype(np.float32) for s in shapes
        ]
        layers[name][-1].reshape(-1)[-1] = 1
    return encode(codec, layers)


@pytest.mark.parametrize(
    ("codec", "at", "found"),
    [("4/4", 0, 73), ("4/4", 0, -1), ("4/8", 0, 2**31 - 1), ("sparse", 0, 73), ("sparse", 4, 5), ("squeezenet", 1, 73)],
)
def test_counts_beyond_the_blob(codec: str, at: int, found: int) -> None:
    data = bytearray(small_file(codec))
    data[at : at + 4] = found.to_bytes(4, "little", signed=True)
    message = rf"byte {at}: layer 'conv1' \w+: expected 0 to \d+ entries, found {found}"
    with pytest.raises(FileFormatError, match=message):
        decode(codec, bytes(data), SHAPES)


def test_fewer_entries_than_values_in_the_dense_form() -> None:
    data = bytearray(small_file("squeezenet"))
    data[1:5] = (71).to_bytes(4, "little")
    with pytest.raises(FileFormatError, match="byte 1: layer 'conv1' weight: expected 72 entries, found 71"):
        decode("squeezenet", bytes(data), SHAPES)
    data = bytearray(small_file("squeezenet"))
    data[0] = 122
    with pytest.raises(FileFormatError, match=r"byte 0: .*expected an exponent up to 121, found 122"):
        decode("squeezenet", bytes(data), SHAPES)
    data = bytearray(small_file("squeezenet"))
    data[5] |= 15
    with pytest.raises(FileFormatError, match="expected codes 0 to 14, found 15"):
        decode("squeezenet", bytes(data), SHAPES)


@pytest.mark.parametrize("codec", ["4/4", "4/8"])
def test_positions_beyond_the_blob(codec: str) -> None:
    data = encode(codec, {"a": [np.ones(12, np.float32)]})
    with pytest.raises(FileFormatError, match="layer 'a' weight: expected positions below 12, found 26"):
        decode(codec, data[:-1] + b"\x0f", {"a": [(12,)]})


@pytest.mark.parametrize(
    ("positions", "found"), [([0, 12], 12), ([-1, 3], -1), ([3, 3], 3), ([5, 4], 4), ([0, 2**31 - 1], 2**31 - 1)]
)
def test_sparse_positions_must_ascend_inside_the_blob(positions: list[int], found: int) -> None:
    data = np.array([2, 0], "<i4").tobytes() + np.ones(2, "<f4").tobytes() + np.array(positions, "<i4").tobytes()
    with pytest.raises(FileFormatError, match=rf"byte \d+: .* ascending positions from 0 to 11, found {found}"):
        decode("sparse", data, {"a": [(12,)]})


def test_biases_of_a_layer_without_bias() -> None:
    data = np.array([0, 1], "<i4").tobytes()
    with pytest.raises(FileFormatError, match="byte 4: layer 'a' bias: expected 0 to 0 entries, found 1"):
        decode("sparse", data, {"a": [(12,)]})


def test_codebook_that_holds_no_numbers() -> None:
    data = bytearray(encode("4/4", {"a": [np.ones(12, np.float32)]}))
    data[8:12] = np.float32(np.nan).tobytes()
    with pytest.raises(FileFormatError, match="layer 'a' weight: expected a codebook of finite numbers"):
        decode("4/4", bytes(data), {"a": [(12,)]})
