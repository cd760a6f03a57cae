"""A program that tries an installation without extras; needs nothing of the tests, so any interpreter can run it.

``python light_install.py core`` does what must work everywhere. ``python light_install.py features`` uses what needs
an extra, and prints the errors as JSON: package -> the messages of its uses. Further arguments are packages that are
kept from being imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import demitasse

NET = """
name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""


def run(*arguments: str) -> str:
    """Runs a command; returns what it prints."""
    from demitasse.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(list(arguments))
    return out.getvalue()


def core() -> None:
    """Prunes and quantizes a PyTorch module, packs it and reads it again; inspects it; runs a Caffe net."""
    for name in demitasse.__all__:
        assert getattr(demitasse, name) is not None
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pruning = demitasse.Surgery(model, optimizer, sparsity=0.5, ramp=2)
    for _ in range(4):
        optimizer.zero_grad()
        model(torch.randn(4, 8)).square().mean().backward()
        optimizer.step()
    assert pruning.finish().sparsity == 0.5
    quantization = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(1.0,))
    quantization.freeze()
    print(quantization.finish())
    for file in ("model.demi", "model.safetensors", "model.pt"):
        demitasse.save(model.state_dict(), file)
        found = demitasse.load(file)
        assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())
    assert demitasse.packed.load("model.demi")["0.weight"].shape == (16, 8)
    assert "0.weight" in run("inspect", "model.demi")
    assert "inspect" in run("--help")
    net = demitasse.pycaffe.Net(_written("net.prototxt", NET), demitasse.pycaffe.TRAIN)
    net.save("net.caffemodel")
    run("pack", "net.caffemodel", "net.demi")
    assert Path("net.demi").stat().st_size > 0


def _written(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def _datum() -> None:
    from demitasse.caffe import schema
    from demitasse.caffe.sources.database import datum_image

    datum_image(schema.Datum(encoded=True, data=b"an image"))


def _cifar10() -> None:
    from demitasse.zoo.data.cifar10 import read_images

    for part in ("train", "test"):
        Path(f"cifar/{part}/cat").mkdir(parents=True)
        Path(f"cifar/{part}/cat/1.jpg").write_bytes(b"an image")
    read_images(Path("cifar"))


def _layer(text: str) -> Callable[[], None]:
    def build() -> None:
        from demitasse.caffe import schema
        from demitasse.caffe.net import Net
        from demitasse.caffe.text import prototxt

        Path("list.txt").write_text("file 1\n", encoding="utf-8")
        Path("file").write_bytes(b"bytes")
        Net(prototxt.parse(text, schema.NetParameter(), "net"))()

    return build


def _hdf5_snapshots() -> None:
    from demitasse.caffe.text import prototxt
    from demitasse.caffe.training.solver import Solver

    _written("net.prototxt", NET)
    settings = 'net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1 solver_mode: CPU '
    snapshots = 'snapshot: 1 snapshot_prefix: "x" snapshot_format: HDF5'
    Solver(prototxt.read_solver(_written("solver.prototxt", settings + snapshots)), "solver.prototxt")


def _hdf5_model() -> None:
    demitasse.load(b"\x89HDF\r\n\x1a\n", format="hdf5")


def _detections() -> None:
    from demitasse.pycaffe.windows import write_detections

    write_detections("found.h5", [{"filename": "a", "window": (0, 0, 1, 1), "prediction": np.ones(2)}])


def _write_lmdb() -> None:
    from demitasse.caffe.sources.lmdb_store import write_lmdb

    write_lmdb("lmdb", [(b"key", b"value")])


def _leveldb() -> None:
    from demitasse.caffe.sources.leveldb_store import LevelDbReader

    LevelDbReader("leveldb")


def _draw_net() -> None:
    from demitasse.pycaffe import draw
    from demitasse.pycaffe.proto import caffe_pb2

    draw.draw_net(caffe_pb2.NetParameter())


def _pydot_graph() -> None:
    from demitasse.pycaffe import draw
    from demitasse.pycaffe.proto import caffe_pb2

    draw.get_pydot_graph(caffe_pb2.NetParameter(), "TB")


def _plots() -> None:
    from demitasse.report.plots import kept_by_layer

    kept_by_layer({"ip": (1, 2)}, "kept.png")


def _export_onnx() -> None:
    from demitasse.caffe.net import Net
    from demitasse.caffe.schema import TEST
    from demitasse.export import export, of_net

    export(of_net(Net.from_file(_written("net.prototxt", NET), TEST)), "net.onnx")


def _rival(name: str) -> list[Callable[[], Any]]:
    from demitasse.runtime.rivals import RIVALS, require

    return [lambda: require(name), lambda: RIVALS[name](Path("net.onnx"), {}, 1)]


def _image() -> None:
    demitasse.Preparation("grey", (28, 28))(b"an image")


def _page() -> None:
    from demitasse.report.page.page import write_page

    write_page(["model.demi"])


def _demo() -> None:
    from demitasse.demo import run_demo

    run_demo("digits", Path("demo"))


# package -> what needs it
FEATURES: dict[str, list[Callable[[], Any]]] = {
    "PIL": [
        _datum,
        _cifar10,
        _image,
        lambda: demitasse.pycaffe.io.load_image("file.png"),
        _layer('layer { name: "d" type: "ImageData" top: "d" image_data_param { source: "list.txt" batch_size: 1 } }'),
    ],
    "h5py": [
        lambda: demitasse.save({"ip.0": torch.ones(1)}, "net.caffemodel.h5"),
        _hdf5_model,
        _hdf5_snapshots,
        _detections,
        _layer('layer { name: "d" type: "HDF5Data" top: "d" hdf5_data_param { source: "list.txt" batch_size: 1 } }'),
    ],
    "jinja2": [_page],
    "lightning": [lambda: import_module("demitasse.integrations.lightning")],
    "lmdb": [_write_lmdb],
    "matplotlib": [_plots, _draw_net, lambda: demitasse.compress.compress("lenet")],
    "onnx": [lambda: demitasse.load(b"a model", format="onnx"), _export_onnx],
    "onnxruntime": _rival("onnxruntime"),
    "onnxscript": [_export_onnx],
    "openvino": _rival("openvino"),
    "plyvel": [_leveldb],
    "pydot": [_pydot_graph],
    "scipy": [lambda: demitasse.pycaffe.io.resize_image(np.ones((2, 2, 3)), (3, 3))],
    "sklearn": [demitasse.datasets.digits],
    "transformers": [lambda: import_module("demitasse.integrations.huggingface")],
    "vl_convert": [_page],
    "demo": [_demo],
}


def errors() -> Iterator[tuple[str, list[str]]]:
    """Yields each feature with the messages of the errors that its uses end in."""
    from demitasse.errors import MissingPackageError

    for name, uses in FEATURES.items():
        messages = []
        for use in uses:
            try:
                use()
            except MissingPackageError as error:
                messages.append(str(error))
            else:
                messages.append("no error")
        yield name, messages


if __name__ == "__main__":
    what, *kept_out = sys.argv[1:]
    for package in kept_out:
        sys.modules[package] = None  # type: ignore[assignment]
    if what == "core":
        core()
    else:
        print(json.dumps(dict(errors())))
