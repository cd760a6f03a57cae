"""All loops compiled ahead: what comes afterwards finds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import demitasse
from demitasse import warm
from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES
from demitasse.packed.writer import pack

PACKAGE = Path(demitasse.__file__).parent
USE = """
import torch, demitasse
model = torch.nn.Linear(8, 8)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
surgery = demitasse.Surgery(model, optimizer, sparsity=0.5)
model(torch.ones(1, 8)).sum().backward()
optimizer.step()
surgery.finish()
demitasse.save(model, "model.demi")
demitasse.load("model.demi")
"""


def test_a_tensor_of_each_type_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of warming, in the quick form alone; the loops may be compiled already."""
    monkeypatch.setattr(warm, "_ROWS", 8)
    tensors = list(warm._tensors())
    assert {tensor.dtype.name for tensor in tensors} == {dtype.name for dtype in DTYPES}
    found = list(File(pack(tensors, smallest=False)).tensors())
    assert [(each.name, each.dtype, each.shape) for each in found] == [
        (each.name, each.dtype, each.shape) for each in tensors
    ]
    assert all(np.array_equal(one.bits, other.bits) for one, other in zip(found, tensors, strict=True))


@pytest.mark.slow
def test_nothing_is_compiled_after_warming(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(*arguments: str) -> set[Path]:
        subprocess.run([sys.executable, *arguments], env=environment, cwd=tmp_path, check=True, capture_output=True)
        return {*tmp_path.rglob("*.loop"), *PACKAGE.rglob("*.loop")}  # what is beside the sources is used, too

    warmed = run("-m", "demitasse.warm")
    assert len(warmed) > 20
    assert run("-c", USE) == warmed
