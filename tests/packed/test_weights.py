"""The weights of a file, packed part by part."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.packed.file import File
from demitasse.packed.rows import sparse_rows
from demitasse.packed.tensor import Tensor, of_array
from demitasse.packed.weight import PackedWeight
from demitasse.packed.weights import weights_of
from demitasse.packed.writer import pack

RNG = np.random.default_rng(0)


def sparse(shape: tuple[int, ...], density: float, few: bool = True) -> np.ndarray:
    values = np.exp2(RNG.integers(-5, 2, shape)) if few else RNG.normal(size=shape)
    return (values * RNG.choice([-1, 1], shape) * (RNG.random(shape) < density)).astype(np.float32)


ARRAYS = {
    "cut": sparse((600, 2000), 0.05),
    "long rows": sparse((2, 700_000), 0.01),
    "kernel": sparse((16, 8, 5, 5), 0.1),
    "many values": sparse((300, 400), 0.2, few=False),
    "half": sparse((300, 400), 0.05).astype(np.float16),
    "dense": RNG.normal(size=(60, 40)).astype(np.float32),
    "dense, cut": RNG.normal(size=(800, 900)).astype(np.float32),
    "small": sparse((4, 5), 0.1),
    "bias": RNG.normal(size=600).astype(np.float32),
    "whole numbers": np.arange(3),
    "one": np.float32(3).reshape(()),
    "none": np.zeros((0, 3), np.float32),
    "zeros": np.zeros((300, 20), np.float32),
}
PACKED = {"cut", "long rows", "kernel", "many values", "zeros", "small", "dense"}


def packed(**settings: object) -> bytes:
    return pack([of_array(name, np.asarray(array)) for name, array in ARRAYS.items()], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("smallest", [True, False])
def test_values_are_those_of_the_file(threads: int, smallest: bool) -> None:
    with File(packed(smallest=smallest), threads=threads) as file:
        found = weights_of(file)
    assert list(found) == list(ARRAYS)
    for name, expected in ARRAYS.items():
        weight = found[name]
        assert isinstance(weight, PackedWeight) == (name in PACKED), name
        array = weight.array() if isinstance(weight, PackedWeight) else weight
        assert array.shape == expected.shape
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected), name


def test_packed_rows_are_those_of_the_whole_matrix() -> None:
    with File(packed(smallest=False)) as file:
        weight = weights_of(file)["cut"]
    assert isinstance(weight, PackedWeight)
    for left, right in zip(weight.rows(), sparse_rows(ARRAYS["cut"]), strict=True):
        assert np.array_equal(left, right)


def test_other_names() -> None:
    tensors = [of_array("cut", ARRAYS["cut"])]
    with File(pack(tensors, aliases={"other": "cut"})) as file:
        found = weights_of(file)
    assert found["other"] is found["cut"]


def test_a_large_matrix_is_never_whole() -> None:
    matrix = sparse((2000, 4096), 0.02)
    data = pack([of_array("weight", matrix)])
    with File(data, threads=1) as file:
        weights_of(file)  # the loops are compiled now
    tracemalloc.start()
    with File(data, threads=1) as file:
        found = weights_of(file)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(found["weight"].array(), matrix)  # type: ignore[union-attr]
    assert most < matrix.nbytes / 3
    assert found["weight"].nbytes <= 2.2 * np.count_nonzero(matrix)


def test_a_damaged_part_is_found() -> None:
    matrix = sparse((2000, 1000), 0.1)
    data = bytearray(pack([of_array("weight", matrix)]))
    data[-5] ^= 1
    with File(bytes(data)) as file, pytest.raises(FileFormatError, match="weight"):
        weights_of(file)


def test_the_bits_of_types_that_numpy_lacks() -> None:
    from demitasse.packed.tensor import BY_NAME

    tensor = Tensor("half", BY_NAME["bfloat16"], (2, 2), np.arange(4, dtype=np.uint16))
    with File(pack([tensor])) as file:
        assert np.array_equal(weights_of(file)["half"], tensor.bits.reshape(2, 2))  # type: ignore[arg-type]
