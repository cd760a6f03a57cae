"""Data layers give what Caffe's gave, and the tools write what Caffe's wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe import prototxt, schema
from demitasse.caffe.sources import SOURCES
from demitasse.caffe.sources.memory import MemoryData

EXACT = [
    "dummy", "dummy_legacy", "hdf5", "hdf5output", "lmdb_crop_value", "lmdb_encoded_png", "lmdb_force_color",
    "lmdb_gray", "lmdb_mean_file", "lmdb_mean_file_crop", "lmdb_mean_value1", "lmdb_mean_value3",
    "lmdb_mirror_test", "lmdb_resized", "lmdb_scale", "memory", "mnist_no_label", "transform_train_fixed",
]  # fmt: skip
# decoders of JPEG, and ways to make grey of colour, differ by a level or two
WITHIN = {"lmdb_jpg_var": 2, "lmdb_force_gray": 1}


@pytest.mark.parametrize(("case", "levels"), [*((case, 0) for case in EXACT), *WITHIN.items()])
def test_batches_are_those_of_caffe(case: str, levels: float, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared / "golden/layers" / f"data_{case}"
    monkeypatch.chdir(folder)
    info = json.loads(Path("case.json").read_text())
    expected = np.load("data.npz")
    layer = prototxt.read_net("net.prototxt").layer[0]
    source = SOURCES[layer.type](layer, schema.TRAIN if info["phase"] == "TRAIN" else schema.TEST)
    if isinstance(source, MemoryData):
        source.set_arrays(expected["array"], expected["labels"])
    passes = max(int(key.split("/")[0].removeprefix("pass")) for key in expected if key.startswith("pass"))
    for index in range(passes + 1):
        tops = source.read()
        if index == 0:
            assert [tuple(top.shape) for top in tops] == source.shapes
        for name, top in zip(layer.top, tops, strict=True):
            wanted = expected[f"pass{index}/top/{name}"]
            assert top.numpy().shape == wanted.shape
            np.testing.assert_allclose(top.numpy(), wanted, rtol=0, atol=levels)
