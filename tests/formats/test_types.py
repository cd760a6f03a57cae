"""Tensors of every type, and views of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse.errors import UsageError
from demitasse.packed.file import File
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack

each_form = pytest.mark.parametrize("form", [".demi", ".safetensors", ".pt"])


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
        torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64,
        torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
    ],
    ids=str,
)  # fmt: skip
def test_every_type_in_a_packed_file(tmp_path: Path, dtype: torch.dtype) -> None:
    numbers = torch.arange(-12, 12).reshape(2, 3, 4)
    state = {"many": numbers.to(dtype), "one": numbers[1, 1, 1].to(dtype), "none": torch.zeros(0, 3, dtype=dtype)}
    demitasse.save(state, tmp_path / "model.demi")
    found = demitasse.load(tmp_path / "model.demi")
    assert isinstance(found, dict)
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == dtype
        assert found[name].shape == tensor.shape
        assert found[name].tolist() == tensor.tolist()


def test_types_that_safetensors_has_not(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"w: the installed safetensors cannot write complex128 tensors of shape \(2,\)"
    ):
        demitasse.save({"w": torch.zeros(2, dtype=torch.complex128)}, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@each_form
def test_bools_of_any_bytes_are_what_torch_shows(tmp_path: Path, form: str) -> None:
    mask = torch.tensor([0, 1, 2, 128, 255, 254], dtype=torch.uint8).view(torch.bool)
    demitasse.save({"mask": mask, "tied": mask}, tmp_path / f"model{form}")
    found = demitasse.load(tmp_path / f"model{form}")
    assert isinstance(found, dict)
    for name in ("mask", "tied"):
        assert found[name].view(torch.uint8).tolist() == [0, 1, 1, 1, 1, 1]


def test_bools_of_numpy_are_what_numpy_shows() -> None:
    mask = np.array([[0, 1, 2], [255, 0, 254]], np.uint8).view(bool)
    (found,) = File(pack([of_array("mask", mask[:, ::2])])).tensors()
    assert found.bits.tolist() == [0, 1, 1, 1]


@each_form
def test_conjugates_and_views_of_another_type(tmp_path: Path, form: str) -> None:
    values = torch.tensor([1 + 2j, 3 - 4j])
    state = {
        "w": values,
        "conjugate": values.conj(),
        "negative": values.conj().imag,
        "parts": torch.view_as_real(values),
    }
    demitasse.save(state, tmp_path / f"model{form}")
    found = demitasse.load(tmp_path / f"model{form}")
    assert isinstance(found, dict)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
