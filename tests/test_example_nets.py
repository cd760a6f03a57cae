"""The nets of the examples compute and learn, on made-up data, small where the net allows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse import examples
from demitasse.caffe import schema
from demitasse.caffe.sources.lmdb_store import write_lmdb
from demitasse.caffe.text import prototxt
from demitasse.caffe.training.solver import Solver
from tests.test_descendants import allow_small_images

FOLDER = Path(examples.__file__).parent
# the least planes that go through each net; two images where there are norms
DATA: dict[str, dict[str, tuple[int, ...]]] = {
    "alexnet": {"data": (1, 3, 67, 67), "label": (1,)},
    "caffenet": {"data": (1, 3, 67, 67), "label": (1,)},
    "googlenet": {"data": (1, 3, 224, 224), "label": (1,)},
    "vgg16": {"data": (1, 3, 32, 32), "label": (1,)},
    "resnet50": {"data": (2, 3, 195, 195), "label": (2,)},
    "squeezenet": {"data": (1, 3, 35, 35), "label": (1,)},
    "mobilenet_v1": {"data": (2, 3, 32, 32), "label": (2,)},
    "mobilenet_v2": {"data": (2, 3, 32, 32), "label": (2,)},
    "fcn32s": {"data": (1, 3, 32, 48), "label": (1, 1, 32, 48)},
    "fcn8s": {"data": (1, 3, 32, 48), "label": (1, 1, 32, 48)},
    "lrcn": {"cont": (3, 2), "input": (3, 2), "target": (3, 2), "features": (2, 4096)},
    "siamese": {"pairs": (4, 2, 28, 28), "same": (4,)},
    "autoencoder": {"data": (2, 1, 28, 28)},
    "segnet": {"data": (1, 3, 32, 64), "label": (1, 1, 32, 64)},
    "enet": {"data": (2, 3, 64, 64), "label": (2, 1, 64, 64)},
    "pspnet50": {"data": (2, 3, 89, 89), "label": (2, 1, 89, 89)},
    "shufflenet": {"data": (2, 3, 64, 64), "label": (2,)},
    "se_resnet50": {"data": (2, 3, 64, 64), "label": (2,)},
}
BLOBS = ("data", "pairs", "features")
# what is narrowed to 16 outputs: hundreds of megabytes, and VGG-16 with a margin of 100 pixels
WIDE = {
    "alexnet": ("fc6", "fc7"),
    "caffenet": ("fc6", "fc7"),
    "vgg16": ("fc6", "fc7"),
    "fcn32s": ("conv", "fc6", "fc7"),
    "fcn8s": ("conv", "fc6", "fc7"),
    "lrcn": ("embedding", "lstm"),
}


def train_net(name: str, narrow: bool) -> schema.Message:
    """Returns train_val with sources that make data up."""
    spec = prototxt.read_net(FOLDER / name / "train_val.prototxt")
    allow_small_images(spec)
    for layer in spec.layer:
        if layer.type.endswith("Data"):
            layer.type = "DummyData"
            for top in layer.top:
                layer.dummy_data_param.shape.add(dim=DATA[name][top])
                kind = {"type": "uniform", "max": 1} if top in BLOBS else {"type": "constant"}
                layer.dummy_data_param.data_filler.add(**kind)
        if narrow and layer.name.startswith(WIDE.get(name, ())):
            for field in ("convolution_param", "inner_product_param", "embed_param", "recurrent_param"):
                if layer.HasField(field):
                    getattr(layer, field).num_output = 16
    return spec


def trains(name: str, spec: schema.NetParameter) -> None:
    """Two iterations of the example's solver move the weights, and leave those at rate 0."""
    param = prototxt.read_solver(FOLDER / name / "solver.prototxt")
    param.ClearField("net")
    del param.test_iter[:]
    param.net_param.CopyFrom(spec)
    param.solver_mode, param.iter_size, param.random_seed = schema.SolverParameter.CPU, 1, 1
    param.test_interval, param.snapshot, param.snapshot_after_train = 0, 0, False
    solver = Solver(param, name)
    before = [blob.tensor.clone() for blob in solver.net.learnable]
    solver.step(2)
    assert all(0 <= float(loss) < 1e9 for loss in solver.losses)
    for blob, old in zip(solver.net.learnable, before, strict=True):
        assert torch.isfinite(blob.tensor).all(), blob.layer
        if blob.lr_mult == 0 and isinstance(blob.tensor, torch.nn.Parameter):
            assert torch.equal(blob.tensor, old), blob.layer
    changed = [not torch.equal(blob.tensor, old) for blob, old in zip(solver.net.learnable, before, strict=True)]
    assert sum(changed) > len(changed) / 2


@pytest.mark.parametrize("name", DATA)
def test_net_trains(name: str) -> None:
    trains(name, train_net(name, narrow=True))


@pytest.mark.parametrize("name", ["mobilenet_ssd", pytest.param("ssd300", marks=pytest.mark.slow)])
def test_an_ssd_trains(name: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 90, 120), np.uint8).tobytes()
    datum = schema.Datum(channels=3, height=90, width=120, data=pixels)
    image = schema.AnnotatedDatum(datum=datum, type=schema.AnnotatedDatum.BBOX)
    box = schema.NormalizedBBox(xmin=0.1, ymin=0.2, xmax=0.6, ymax=0.9)
    image.annotation_group.add(group_label=7).annotation.add(bbox=box)
    write_lmdb(tmp_path / "boxes", [(b"0", image.SerializeToString())])
    spec = prototxt.read_net(FOLDER / name / "train_val.prototxt")
    for layer in spec.layer:
        if layer.type == "AnnotatedData":
            layer.data_param.source, layer.data_param.batch_size = str(tmp_path / "boxes"), 1
    trains(name, spec)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_net_trains_in_full_width(name: str) -> None:
    trains(name, train_net(name, narrow=False))
