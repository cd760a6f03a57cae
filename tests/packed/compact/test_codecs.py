"""The bytes of each compact format, and what it refuses; what all have in common is in tests/contract."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from demitasse.errors import UnknownNameError, WeightsError
from demitasse.packed.compact import decode, encode

Array = np.ndarray[Any, np.dtype[Any]]

POWERS = ("4/4", "4/8", "squeezenet")  # formats of powers of two


def round_trip(codec: str, layers: dict[str, list[Array]]) -> bytes:
    data = encode(codec, layers)
    found = decode(codec, data, {name: [a.shape for a in arrays] for name, arrays in layers.items()})
    assert list(found) == list(layers)
    for name, arrays in layers.items():
        for ours, theirs in zip(found[name], arrays, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, theirs)
    return data


@pytest.mark.parametrize("codec", ["4/4", "4/8", "sparse"])
def test_blobs_of_zeros_survive(codec: str) -> None:
    data = round_trip(codec, {"ip": [np.zeros((3, 5), np.float32), np.zeros(3, np.float32)]})
    assert len(data) == {"4/4": 2 * 68, "4/8": 2 * 68, "sparse": 8}[codec]


@pytest.mark.parametrize(("codec", "longest"), [("4/4", 16), ("4/8", 256)])
@pytest.mark.parametrize("fillers", [0, 1, 2, 20])
@pytest.mark.parametrize("rest", [1, 2, 16])
def test_long_gaps_take_one_filler_each(codec: str, longest: int, fillers: int, rest: int) -> None:
    values = np.zeros(fillers * longest + rest, np.float32)
    values[-1] = -0.25
    data = round_trip(codec, {"ip": [values]})
    assert int.from_bytes(data[:4], "little") == fillers + 1


def test_bytes_of_a_small_layer() -> None:
    # gaps 1 and 18 (a filler and 2); 2^1 is the largest exponent's code, -2^-5 the smallest's
    values = np.zeros(20, np.float32)
    values[[0, 18]] = 2.0, -(2.0**-5)
    powers = [2.0**e for e in range(-5, 2)]
    codebook = np.array([0, *(-p for p in powers), *powers, 0], "<f4").tobytes()
    count = b"\x03\x00\x00\x00"
    assert encode("4/4", {"a": [values]}) == count + codebook + b"\xe0\x10" + b"\x0f\x10"
    values = np.zeros(5, np.float32)
    values[4] = -1
    assert encode("4/8", {"a": [values]})[68:] == b"\x70" + b"\x04\x00"


def test_dense_words_hold_three_or_four_codes() -> None:
    values = np.array([1, -1, 0, 2.0**-6, 1], np.float32)
    four = b"\xfa\x05\x00\x00\x00" + (14 | 6 << 4 | 7 << 8 | 8 << 12).to_bytes(2, "little") + b"\x0e\x00"
    three = b"\xfa\x05\x00\x00\x00" + (14 | 6 << 4 | 7 << 8).to_bytes(2, "little") + b"\xe8\x00"
    for name, weight in (("fire2/expand3x3", three), ("conv1", three), ("conv10", four), ("ip1", four)):
        assert encode("squeezenet", {name: [values, values]}) == weight + four


@pytest.mark.parametrize("codec", POWERS)
@pytest.mark.parametrize("wrong", [0.3, 2.0**-7, 3e-3, -0.0625 * 1.001, math.nan, math.inf])
def test_values_off_the_grid_are_refused(codec: str, wrong: float) -> None:
    values = np.array([0, 1.0, 0.5, wrong], np.float32)
    message = r"layer 'ip1' bias: \d of 3 values are not quantized; the first is .*; expected 0 or \+-2\^e"
    with pytest.raises(WeightsError, match=message):
        encode(codec, {"ip1": [np.ones(3, np.float32), values]})


def test_refusal_names_value_and_grid() -> None:
    with pytest.raises(WeightsError, match=r"first is 0\.300000012; .* with e from -6 to 0"):
        encode("4/4", {"ip1": [np.array([1, 0.3], np.float32)]})


def test_dense_form_refuses_what_has_no_exponent() -> None:
    with pytest.raises(WeightsError, match="layer 'ip1' weight: all values are 0"):
        encode("squeezenet", {"ip1": [np.zeros(3, np.float32)]})
    with pytest.raises(WeightsError, match="expected exponents from -128, found -129"):
        encode("squeezenet", {"ip1": [np.full(3, 2.0**-123, np.float32)]})


def test_unknown_format_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown compact format '4/5'; did you mean"):
        encode("4/5", {"a": [np.ones(2, np.float32)]})
