"""Every example parses and builds; the nets are what their names promise."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from demitasse import examples
from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.layers import base as layers_base
from demitasse.caffe.net import Net
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.caffe.text import prototxt
from demitasse.errors import UsageError

IMAGES = {
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "imagenet": (3, 256, 256),
    "voc": (3, 500, 500),
    "voc_label": (1, 500, 500),
    "mnist_pairs": (2, 28, 28),
}
# list of images and label images -> height, width
PAIRS = {"camvid": (360, 480), "cityscapes": (512, 1024), "ade20k": (473, 473)}
ROWS = {
    "captions": {"cont": (20, 16), "input": (20, 16), "target": (20, 16)},
    "features": {"features": (16, 4096)},
}
PARAMETERS = {
    "digits": 114_760,
    "lenet5": 431_080,
    "lenet300": 266_610,
    "alexnet": 60_965_224,
    "squeezenet": 1_235_496,
    "caffenet": 60_965_224,
    "googlenet": 6_998_552,
    "vgg16": 138_357_544,
    "resnet50": 25_557_032,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "fcn32s": 134_432_597,
    "fcn8s": 134_368_799,
    "lrcn": 50_002_801,
    "siamese": 431_102,
    "ssd_small": 99_776,
    "autoencoder": 2_837_314,
    "segnet": 29_449_355,
    "enet": 363_287,
    "pspnet50": 46_782_550,
    "pspnet50/train_val.prototxt": 49_180_908,
    "shufflenet": 1_865_728,
    "se_resnet50": 28_088_024,
    "ssd300": 26_285_486,
    "mobilenet_ssd": 5_783_417,
    "mobilenet_yolov3": 7_762_593,
    "faster_rcnn": 137_078_239,
    "rfcn_resnet50": 31_809_539,
    "googlenet/train_val.prototxt": 13_378_280,  # with its auxiliary classifiers
    "squeezenet/deploy.prototxt": 1_248_424,  # that one is v1.0
}
AUXILIARY = {"googlenet": {"loss1/loss": 0.3, "loss2/loss": 0.3}, "pspnet50": {"loss_aux": 0.4}}
DETECTORS = ("ssd_small", "ssd300", "mobilenet_ssd")
WITHOUT_ACCURACY = ("siamese", "autoencoder", *DETECTORS)
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
        for part in ("train", "val", "test"):
            name = f"voc_{part}_label" if data == "voc_label" else f"{data}_{part}"
            write_lmdb(folder / f"{name}_lmdb", [(b"0", datum.SerializeToString())])
    image = schema.AnnotatedDatum(datum=schema.Datum(channels=3, height=64, width=64, data=bytes(3 * 64 * 64)), type=0)
    for name in ("shapes_train", "shapes_test", "voc0712_train", "voc0712_test"):
        write_lmdb(folder / f"{name}_lmdb", [(b"0", image.SerializeToString())])
    for name, shapes in ROWS.items():
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for dataset, shape in shapes.items():
                file[dataset] = np.zeros(shape, np.float32)
        for part in ("train", "val"):
            (folder / f"{name}_{part}.txt").write_text(f"{name}.h5")
    for name, size in PAIRS.items():
        (folder / f"{name}.png").write_bytes(encode(np.zeros((3, *size), np.uint8), "png"))
        (folder / f"{name}_classes.png").write_bytes(encode(np.zeros((1, *size), np.uint8), "png"))
        for part in ("train", "val"):
            (folder / f"{name}_{part}.txt").write_text(f"{name}.png {name}_classes.png\n")
    return folder


PHASES = [(path, phase) for path in NETS for phase in (schema.TRAIN, schema.TEST) if "deploy" not in path or phase]


@pytest.mark.parametrize(("path", "phase"), PHASES)
def test_net_builds(folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, phase: int) -> None:
    monkeypatch.chdir(folder)
    # all layers without values: AlexNet has 240 MB of them
    monkeypatch.setattr(layers_base, "_SMALL", -1)
    with torch.device("meta"):
        net = Net.from_file(path, phase)
    count = sum(blob.tensor.numel() for blob in net.learnable if isinstance(blob.tensor, torch.nn.Parameter))
    name = path.split("/")[0]
    assert count == PARAMETERS.get(path, PARAMETERS[name])
    if "deploy" not in path:
        if name in DETECTORS:
            assert net.losses == ({"mbox_loss": 1.0} if phase == schema.TRAIN else {})
        else:
            assert net.losses == pytest.approx({"loss": 1.0, **AUXILIARY.get(name, {})})
        assert ("accuracy" in net.shapes) == (phase == schema.TEST and name not in WITHOUT_ACCURACY)


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


COMPRESSED = [name for name in examples.names() if any(net.startswith(f"{name}/inq_1") for net in NETS)]


@pytest.mark.parametrize("name", COMPRESSED)
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


@pytest.mark.parametrize("path", [net for net in NETS if "deploy" not in net and net.split("/")[0] in COMPRESSED])
def test_names_are_those_that_the_conversions_know(folder: Path, path: str) -> None:
    layers = [layer for layer in prototxt.read_net(folder / path).layer if layer.param]
    assert layers
    for layer in layers:
        assert any(part in layer.name for part in ("conv", "ip", "fc", "fire"))


def test_nothing_is_overwritten(folder: Path) -> None:
    with pytest.raises(UsageError, match="already exists"):
        examples.copy_examples(folder)


def test_unknown_example(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="there is no example 'lenet6'; expected one of alexnet, autoencoder, caffenet, digits"
    ):
        examples.copy_example("lenet6", tmp_path)
