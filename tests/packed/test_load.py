"""Reading .demi files as numpy arrays, where PyTorch may not be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse import packed
from demitasse.errors import FileFormatError

STATE = {
    "weight": torch.arange(6.0).reshape(2, 3),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "complex": torch.tensor([[1 + 2j]]),
    "flags": torch.tensor([True, False]),
    "step": torch.tensor(7),
}


def test_values_are_those_of_torch(tmp_path: Path) -> None:
    demitasse.save(STATE, tmp_path / "m.demi")
    for source in (tmp_path / "m.demi", str(tmp_path / "m.demi"), (tmp_path / "m.demi").read_bytes()):
        found = packed.load(source)
        assert list(found) == list(STATE)
        for name in ("weight", "complex", "flags", "step"):
            assert found[name].dtype == STATE[name].numpy().dtype
            assert np.array_equal(found[name], STATE[name].numpy())
        assert found["half"].tolist() == STATE["half"].view(torch.uint16).tolist()


def test_bits_stay_bits_where_another_package_teaches_numpy_the_type(tmp_path: Path) -> None:
    pytest.importorskip("ml_dtypes")
    demitasse.save(STATE, tmp_path / "m.demi")
    assert packed.load(tmp_path / "m.demi")["half"].dtype == np.uint16


def test_no_torch_is_imported(tmp_path: Path) -> None:
    demitasse.save(STATE, tmp_path / "m.demi")
    code = f"""
import sys
sys.modules["torch"] = None
from demitasse import packed
print(packed.load({str(tmp_path / "m.demi")!r})["weight"].sum())
assert not sys.modules.keys() & {{"h5py", "matplotlib", "sklearn", "PIL", "lmdb", "safetensors"}}
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "15.0"


def test_what_is_no_packed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="there is no such file"):
        packed.load(tmp_path / "missing.demi")
