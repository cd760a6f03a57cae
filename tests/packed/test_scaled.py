"""Numbers times the scale of their row: what is recognized, that it is exact, and what it saves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import FileFormatError
from demitasse.packed.file import File
from demitasse.packed.order import reorder
from demitasse.packed.palettes.scaled import INTEGERS, POWERS_OF_TWO, find_scaled
from demitasse.packed.tensor import BY_NAME, Tensor, of_array
from demitasse.packed.units import Link
from demitasse.packed.weight import PackedWeight
from demitasse.packed.weights import weights_of
from demitasse.packed.writer import pack
from tests.packed.reference import decode
from tests.packed.test_file import equal


def numbers(shape: tuple[int, ...], largest: int = 7, zeros: float = 0.1, seed: int = 0) -> np.ndarray:
    """Returns whole numbers, about normally distributed."""
    rng = np.random.default_rng(seed)
    found = np.clip(np.round(rng.normal(size=shape) * largest / 2.5), -largest, largest)
    return np.where(rng.random(shape) < zeros, 0.0, found) + 0.0


def scales(shape: tuple[int, ...], axis: int = 0, bits: int = 4, seed: int = 1) -> np.ndarray:
    """Returns scales of short mantissas along an axis."""
    rng, size = np.random.default_rng(seed), shape[axis]
    found = np.exp2(rng.integers(-9, -5, size)) * (1 + rng.integers(0, 1 << bits, size) / (1 << bits))
    return np.expand_dims(found, tuple(k for k in range(len(shape)) if k != axis))


def tensor(values: np.ndarray, dtype: str = "float32") -> Tensor:
    if dtype == "bfloat16":
        wide = values.astype(np.float32).view(np.uint32)
        assert not (wide & 0xFFFF).any()
        return Tensor("w", BY_NAME[dtype], values.shape, (wide >> 16).astype(np.uint16).reshape(-1))
    assert np.array_equal(values.astype(dtype), values)
    return of_array("w", values.astype(dtype))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(24, 40), (16, 12, 3, 3)], ids=str)
@pytest.mark.parametrize(("dtype", "bits"), [("float32", 8), ("float16", 4), ("bfloat16", 4), ("float64", 8)])
def test_values_come_back_to_the_bit(dtype: str, bits: int, shape: tuple[int, ...], axis: int) -> None:
    given = tensor(numbers(shape) * scales(shape, axis, bits), dtype)
    data = pack([given])
    assert data[4] == 2
    assert find_scaled(given).axis == axis  # type: ignore[union-attr]
    assert equal(given, File(data).tensor("w"))
    assert decode(data)[1] == [("w", dtype, shape, given.bits.tolist())]


@pytest.mark.parametrize(("dtype", "levels"), [("float32", 1), ("float16", 3), ("bfloat16", 4), ("float64", 8)])
def test_powers_by_row(dtype: str, levels: int) -> None:
    rng, shape = np.random.default_rng(0), (48, 50)
    powers = np.exp2(rng.integers(0, levels, shape)) * rng.choice([-1, 0, 1], shape) + 0.0
    given = tensor(powers * np.exp2(rng.integers(-6, 0, 48))[:, None], dtype)
    found = find_scaled(given)
    assert found is not None
    assert (found.form, found.count, found.bits) == (POWERS_OF_TWO, levels, 0)
    assert equal(given, File(pack([given])).tensor("w"))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(1025, 600), (2, (1 << 19) + 5)], ids=str)
def test_a_tensor_in_parts(shape: tuple[int, ...], axis: int) -> None:
    if axis and shape[1] > 1 << 19:
        shape = (300, 700, 3)  # whole rows of parts, whose scales are those of columns
    given = tensor(numbers(shape, 1) * scales(shape, axis))
    file = File(pack([given], smallest=False))
    assert len(file.header.payloads) > 1
    assert file.header.version == 2
    assert equal(given, file.tensor("w"))


def test_whole_numbers_and_the_lengths_of_scales() -> None:
    shape = (64, 100)
    found = find_scaled(tensor(numbers(shape) * scales(shape, bits=3)))
    assert found is not None
    assert (found.form, found.count, found.bits) == (INTEGERS, 7, 3)


def test_rows_with_one_value_do_not_lengthen_the_scales() -> None:
    values = numbers((64, 100)) * scales((64, 100))
    values[5], values[9] = 0.0, 0.0
    values[5, 7] = 7 * 17 / 16 / 64  # as a scale it would need seven bits
    found = find_scaled(tensor(values))
    assert found is not None
    assert (found.count, found.bits) == (7, 4) or found.count == 7 * 17


def test_one_step_for_all_rows_stays_version_1() -> None:
    values = numbers((10, 30)) * 0.0625
    values[3] = np.round(values[3] / 0.125) * 0.125 + 0.0  # one row could have a longer step
    assert find_scaled(tensor(values)) is None
    assert pack([tensor(values)])[4] == 1


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32),
        np.where(numbers((20, 30)) == 0, -0.0, numbers((20, 30)) * scales((20, 30))),
        np.where(numbers((20, 30)) == 0, np.inf, numbers((20, 30)) * scales((20, 30))),
        np.where(numbers((20, 30)) == 0, np.nan, numbers((20, 30)) * scales((20, 30))),
        numbers((20, 30)) * scales((20, 30)) * 2.0**-140,  # subnormal
        numbers((20, 30)) * scales((20, 30), bits=12),
        numbers((1, 600)) * 0.3125,
    ],
    ids=["any", "negative zeros", "infinite", "nan", "subnormal", "long scales", "one row"],
)
def test_other_values_are_coded_otherwise(values: np.ndarray) -> None:
    given = of_array("w", values.astype(np.float32))
    assert find_scaled(given) is None
    data = pack([given], signed_zeros=True)
    assert data[4] == 1
    assert equal(given, File(data).tensor("w"))


@pytest.mark.parametrize("smallest", [True, False])
def test_a_scale_costs_two_bytes(smallest: bool) -> None:
    shape = (128, 300)
    whole = tensor(numbers(shape))
    by_row = tensor(numbers(shape) * scales(shape))
    before, after = (len(pack([one], smallest=smallest)) for one in (whole, by_row))
    assert after <= before + 2 * 128
    # the same without this palette: a mantissa of several bits for each value
    listed = tensor(numbers(shape) * scales(shape, bits=12))
    assert after < 0.5 * len(pack([listed], smallest=smallest))


def test_what_is_written_is_the_same_each_time() -> None:
    given = tensor(numbers((40, 50)) * scales((40, 50)))
    assert pack([given]) == pack([given])


def test_other_names_and_biases_beside() -> None:
    shape = (30, 20)
    tensors = [tensor(numbers(shape) * scales(shape)), of_array("bias", np.ones(30, np.float32))]
    file = File(pack(tensors, aliases={"tied": "w"}))
    assert equal(tensors[0]._replace(name="tied"), file.tensor("tied"))
    assert equal(tensors[1], file.tensor("bias"))


def test_units_that_change_places_keep_their_scales() -> None:
    rng = np.random.default_rng(2)
    first = numbers((24, 30), zeros=0.8) * scales((24, 30)) * (rng.random((24, 1)) < 0.7) + 0.0
    second = numbers((10, 24), zeros=0.8, seed=3) * scales((10, 24), axis=1, seed=3) + 0.0
    given = [tensor(first)._replace(name="a"), tensor(second)._replace(name="b")]
    found = reorder(given, [Link(("a",), ("b",))], budget=100_000)
    (order,) = found.orders
    assert sorted(order) == list(range(24))
    assert np.array_equal(found.tensors[0].array(), first[order])
    assert np.array_equal(found.tensors[1].array(), second[:, order])
    assert len(pack(found.tensors)) <= len(pack(given))


@pytest.mark.parametrize("zeros", [0.1, 0.9])
@pytest.mark.parametrize("smallest", [True, False])
def test_the_runtime_reads_them(smallest: bool, zeros: float) -> None:
    shape = (600, 1000)
    values = (numbers(shape, 3, zeros) * scales(shape)).astype(np.float32)
    held = weights_of(File(pack([of_array("w", values)], smallest=smallest)))["w"]
    assert isinstance(held, PackedWeight)
    assert len(held.matrix.current[1].codes)  # a byte for each value, not four
    assert np.array_equal(held.array(), values)


def test_a_net_runs_from_scales_of_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    shape, inputs = (64, 40), torch.randn(5, 40)
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(numbers(shape, 3, 0.8) * scales(shape)))
    demitasse.save(model, tmp_path / "net.demi", example=inputs)
    with File(tmp_path / "net.demi") as file:
        assert file.header.version == 2
    assert torch.allclose(demitasse.optimize(tmp_path / "net.demi")(inputs), model(inputs), atol=1e-5)


def test_versions() -> None:
    data = pack([tensor(numbers((20, 30)) * scales((20, 30)))])
    with pytest.raises(FileFormatError, match="found version 3, expected 1 to 2, which this program reads"):
        File(data[:4] + b"\3" + data[5:])
    old = pack([tensor(numbers((20, 30)))])
    assert old[4] == 1
    for wrong in (data[:4] + b"\1" + data[5:], old[:4] + b"\2" + old[5:]):
        with pytest.raises(FileFormatError, match="checksum"):
            File(wrong)
