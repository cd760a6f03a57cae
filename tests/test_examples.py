"""Every example parses and builds; the nets are what their names promise."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from demitasse import examples
from demitasse.caffe import net as net_module
from demitasse.caffe import prototxt, schema
from demitasse.caffe.net import Net
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.errors import UsageError

IMAGES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "imagenet": (3, 256, 256),
}
PARAMETERS = {
    "digits": 114_760,
    "lenet5": 431_080,
    "lenet300": 266_610,
    "alexnet": 60_965_224,
    "squeezenet": 1_235_496,
}
SOLVERS = [
    f"{name}/{solver.name}"
    for name in examples.names()
    for solver in sorted(Path(examples.__file__).parent.glob(f"{name}/*solver.prototxt"))
]
NETS = [
    f"{name}/{net.name}"
    for name in examples.names()
    for net in sorted(Path(examples.__file__).parent.glob(f"{name}/*.prototxt"))
    if "solver" not in net.name
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples with databases of one blank image each."""
    folder = tmp_path_factory.mktemp("examples")
    examples.copy_examples(folder)
    for data, (channels, height, width) in IMAGES.items():
        datum = schema.Datum(channels=channels, height=height, width=width, label=0)
        datum.data = bytes(channels * height * width)
        for part in ("train", "val" if data == "imagenet" else "test"):
            write_lmdb(folder / f"{data}_{part}_lmdb", [(b"0", datum.SerializeToString())])
    return folder


@pytest.mark.parametrize("phase", [schema.TRAIN, schema.TEST], ids=["train", "test"])
@pytest.mark.parametrize("path", NETS)
def test_net_builds(folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, phase: int) -> None:
    monkeypatch.chdir(folder)
    # all layers without values: AlexNet has 240 MB of them
    monkeypatch.setattr(net_module, "_SMALL", -1)
    with torch.device("meta"):
        net = Net.from_file(path, phase)
    count = sum(blob.tensor.numel() for blob in net.learnable if not blob.name.endswith("_mask"))
    if path != "squeezenet/deploy.prototxt":  # that one is SqueezeNet v1.0
        assert count == PARAMETERS[path.split("/")[0]]
    if "deploy" not in path:
        assert list(net.losses) == ["loss"]
        assert ("accuracy" in net.shapes) == (phase == schema.TEST)


@pytest.mark.parametrize("path", SOLVERS)
def test_solver_trains_a_net_of_its_folder(folder: Path, path: str) -> None:
    solver = prototxt.read_solver(folder / path)
    name, step = path.split("/")[0], path.split("/")[1].removesuffix("solver.prototxt")
    net = "" if step in ("warmup_", "lars_") else step
    assert solver.net == f"{name}/{net}train_val.prototxt"
    assert solver.snapshot_prefix == f"{name}/{step.rstrip('_') or 'reference'}"
    assert solver.max_iter % solver.display == 0
    assert (solver.type == "LarsSGD") == ("lars" in path)
    assert (solver.rampup_interval > 0) == ("lars" in path or "warmup" in path)


@pytest.mark.parametrize("name", examples.names())
def test_portions_follow_one_another(folder: Path, name: str) -> None:
    portions = [(0.0, 0.0)]
    for net in sorted((folder / name).glob("inq_?_train_val.prototxt")):
        steps = {
            tuple(param.portion)
            for layer in prototxt.read_net(net).layer
            for param in (layer.inq_convolution_param, layer.inq_inner_product_param)
            if param.portion
        }
        assert len(steps) == 1
        portions.append(steps.pop())
    assert all(math.isclose(a[1], b[0]) for a, b in pairwise(portions))
    assert portions[-1][1] == 1


@pytest.mark.parametrize("path", [net for net in NETS if "deploy" not in net])
def test_names_are_those_that_the_conversions_know(folder: Path, path: str) -> None:
    layers = [layer for layer in prototxt.read_net(folder / path).layer if layer.param]
    assert layers
    for layer in layers:
        assert any(part in layer.name for part in ("conv", "ip", "fc", "fire"))


def test_nothing_is_overwritten(folder: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        examples.copy_examples(folder)


def test_unknown_example(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no example 'lenet6'; there are alexnet, digits"):
        examples.copy_example("lenet6", tmp_path)
