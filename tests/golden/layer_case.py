"""Runs a net as the recorded cases were run, and compares what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from tests.conftest import SHARED

LAYER_CASES = SHARED / "golden" / "layers"


class Case(NamedTuple):
    """A recorded case: its folder, settings and arrays."""

    folder: Path
    settings: dict
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def open(cls, folder: Path) -> Case:
        settings = json.loads((folder / "case.json").read_text())
        return cls(folder, settings, dict(np.load(folder / "data.npz")))

    def net(self) -> Net:
        phase = schema.TRAIN if self.settings["phase"] == "TRAIN" else schema.TEST
        net = Net.from_file(self.folder / "net.prototxt", phase)
        for name in net.named_layers():
            arrays = list(self.under(f"param/{name}").values())
            if arrays:
                net.load_blobs(name, arrays)
        return net

    def under(self, *parts: str) -> dict[str, np.ndarray]:
        """Returns the arrays below a prefix, by what follows it."""
        prefix = "/".join(part for part in parts if part) + "/"
        return {key[len(prefix) :]: array for key, array in self.arrays.items() if key.startswith(prefix)}

    def passes(self) -> list[str]:
        """Returns the prefix of each pass: ``pass0``, ``pass1``, or nothing where there is one."""
        count = self.settings["forward_passes"]
        return [f"pass{i}" for i in range(count)] if count > 1 else [""]


def layer_cases() -> list[Path]:
    """Returns the folders of all layer cases (data layers have tests of their own)."""
    return [
        folder
        for folder in sorted(LAYER_CASES.glob("*/"))
        if (folder / "net.prototxt").exists() and not folder.name.startswith("data_")
    ]


class Recorder:
    """Keeps every blob of a net's run: in-place blobs show their final value and their first gradient."""

    def __init__(self, net: Net) -> None:
        self.blobs: dict[str, Tensor] = {}
        self._first: dict[str, Tensor] = {}
        self.net = net
        for name, spec in ((each.name, each) for each in net.spec.layer):
            if name in net.named_layers():
                net.layer(name).register_forward_hook(self._hook(list(spec.top)))

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        self.blobs.clear()
        self._first.clear()
        batch = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        for name, tensor in batch.items():
            self._keep(name, tensor.requires_grad_(self.net.force_backward))
        return self.net(batch)

    def gradient(self, name: str) -> np.ndarray:
        """Returns the gradient of a blob, zeros where it has none."""
        return gradient(self._first[name])

    def _hook(self, tops: list[str]):
        def record(layer, bottoms, result):
            tensors = (result,) if isinstance(result, Tensor) else result
            # a view of its own for every top tells the copies of a Split apart
            views = tuple(tensor.view_as(tensor) for tensor in tensors)
            for name, view in zip(tops, views, strict=True):
                self._keep(name, view)
            return views[0] if isinstance(result, Tensor) else views

        return record

    def _keep(self, name: str, tensor: Tensor) -> None:
        if tensor.requires_grad:
            tensor.retain_grad()
        self.blobs[name] = tensor
        self._first.setdefault(name, tensor)


def gradient(tensor: Tensor) -> np.ndarray:
    """Returns a tensor's gradient, zeros where it has none."""
    return np.zeros(tuple(tensor.shape), np.float32) if tensor.grad is None else tensor.grad.numpy()


def check(what: str, found: Tensor | np.ndarray, expected: np.ndarray, atol: float = 1e-5) -> None:
    """Compares shape and values at the tolerances of the reference data."""
    array = found.detach().numpy() if isinstance(found, Tensor) else found
    assert array.shape == expected.shape, what
    np.testing.assert_allclose(array, expected, rtol=1e-4, atol=atol, err_msg=what)
