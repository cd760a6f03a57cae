"""Files of tensors: what goes in comes out, and what is broken is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.errors import FileFormatError
from demitasse.packed.file import File
from demitasse.packed.tensor import BY_NAME, DTYPES, Tensor, of_array
from demitasse.packed.writer import pack
from tests.published import lenet5


def pruned(shape: tuple[int, ...], kept: float, powers: int = 0, seed: int = 0) -> np.ndarray:
    """Returns weights of which some are not zero: powers of two, or any."""
    rng = np.random.default_rng(seed)
    size = np.exp2(rng.integers(-powers, 0, shape)) * rng.choice([-1, 1], shape) if powers else rng.normal(size=shape)
    return np.where(rng.random(shape) < kept, size, 0).astype(np.float32)


def small() -> list[Tensor]:
    """Returns a net of all kinds of tensors."""
    rng = np.random.default_rng(3)
    arrays = {
        "conv1.weight": pruned((8, 3, 3, 3), 0.3, 4),
        "conv1.bias": pruned((8,), 0.5, 3),
        "conv2.weight": pruned((12, 8, 3, 3), 0.1, 1),
        "fc1.weight": pruned((20, 48), 0.05, 6),
        "fc2.weight": pruned((10, 20), 0.2),
        "fc2.bias": rng.normal(size=10).astype(np.float32),
        "bn.running_var": np.ones(20, np.float32),
        "bn.num_batches_tracked": np.array(1234567),
        "codes": rng.integers(-7, 8, (30, 7)).astype(np.int8),
        "mask": rng.random((5, 5)) < 0.5,
        "dead": np.zeros((4, 4), np.float16),
        "none": np.zeros((0, 3), np.float32),
    }
    return [of_array(name, array) for name, array in arrays.items()]


def equal(one: Tensor, other: Tensor) -> bool:
    return one[:3] == other[:3] and one.bits.dtype == other.bits.dtype and np.array_equal(one.bits, other.bits)


def test_what_goes_in_comes_out() -> None:
    tensors = small()
    file = File(pack(tensors, {"kind": "a net", "größe": "klein"}))
    assert all(equal(*both) for both in zip(tensors, file.tensors(), strict=True))
    assert file.header.metadata == {"kind": "a net", "größe": "klein"}
    assert equal(file.tensor("fc2.weight"), tensors[4])


@pytest.mark.parametrize("dtype", [dtype.name for dtype in DTYPES])
@pytest.mark.parametrize("shape", [(), (1,), (17,), (6, 9), (3, 2, 2, 5), (0,)], ids=str)
def test_every_type_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    kind, rng = BY_NAME[dtype], np.random.default_rng(1)
    shape = kind.stored(shape)
    size = int(np.prod(shape))
    for bits in (
        rng.integers(0, 2 if dtype == "bool" else 256, size * kind.size).astype(np.uint8).view(kind.bits),
        rng.integers(0, 2 if dtype == "bool" else 3, size).astype(kind.bits),
        np.full(size, 1, kind.bits),
        np.zeros(size, kind.bits),
    ):
        tensor = Tensor("x", kind, shape, bits)
        (found,) = File(pack([tensor], signed_zeros=True)).tensors()
        assert equal(found, tensor)


def test_an_empty_file() -> None:
    assert list(File(pack([])).tensors()) == []


def test_many_values_and_large_groups() -> None:
    rng = np.random.default_rng(0)
    tensors = [
        of_array("many values", rng.integers(0, 5000, (300, 400)).astype(np.int32)),
        of_array("all bits", rng.integers(0, 1 << 32, (64, 1000), dtype=np.uint32)),
        of_array("large", pruned((900, 700), 0.02, 3)),
        of_array("behind", pruned((10, 900), 0.02, 3)),
    ]
    file = File(pack(tensors))
    assert len(file.header.payloads) == 5
    assert all(equal(*both) for both in zip(tensors, file.tensors(), strict=True))


def test_zeros_lose_their_sign_unless_it_is_asked_for() -> None:
    tensor = of_array("x", np.array([[0.0, -0.0, 0.5, -0.25]] * 4, np.float32))
    (plain,) = File(pack([tensor])).tensors()
    (signed,) = File(pack([tensor], signed_zeros=True)).tensors()
    assert not np.signbit(plain.array()[:, 1]).any()
    assert np.array_equal(plain.array(), tensor.array())
    assert equal(signed, tensor)


def test_pruned_powers_of_two_are_small() -> None:
    rng = np.random.default_rng(0)
    # rows and columns of different density: that is what a pruned net has, and what the model is for
    density = rng.gamma(0.3, size=(200, 1)) * rng.gamma(0.3, size=(1, 300))
    weight = np.where(rng.random((200, 300)) < np.minimum(0.3 * density, 0.9), 0.5, 0).astype(np.float32)
    share = np.count_nonzero(weight) / weight.size
    independent = -weight.size * (share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 8
    assert len(pack([of_array("w", weight)])) < 0.8 * independent


def test_dense_values_come_near_their_entropy() -> None:
    codes = np.random.default_rng(0).integers(-7, 8, (300, 400)).astype(np.int8)
    assert len(pack([of_array("w", codes)])) < 1.02 * codes.size * np.log2(15) / 8


def test_lenet5_of_the_paper(shared: Path) -> None:
    tensors = lenet5(shared)
    data = pack(tensors)
    assert all(equal(*both) for both in zip(tensors, File(data).tensors(), strict=True))
    # the standard's own coder takes 3,489
    assert len(data) <= 2_700


def test_what_follows_the_end_is_refused() -> None:
    with pytest.raises(FileFormatError, match="has bytes at the end"):
        File(pack(small()) + b"\0")
