"""A small net on generated data, for tests of training."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from demitasse.caffe import schema
from demitasse.caffe.text import prototxt

SETTINGS = {
    "": "",
    "DNS": "dns_{}_param {{ gamma: 0.05 c_rate: 0.3 }}",
    "INQ": "inq_{}_param {{ portion: 0 portion: 0.5 }}",
}


def write_data(folder: Path, rows: int = 50) -> None:
    """Writes ``data.h5`` with images (1, 8, 8) of four classes that can be told apart, and ``data.txt``."""
    random = np.random.default_rng(5)
    labels = random.integers(0, 4, rows)
    images = random.normal(0, 0.5, (rows, 1, 8, 8)) + np.eye(4).repeat(16, 1).reshape(4, 1, 8, 8)[labels]
    with h5py.File(folder / "data.h5", "w") as file:
        file["data"] = images.astype(np.float32)
        file["label"] = labels.astype(np.float32)
    (folder / "data.txt").write_text(f"{folder / 'data.h5'}\n")


def net_text(folder: Path, method: str = "", batch: int = 8, shuffle: bool = True) -> str:
    """Returns the prototxt of a small LeNet with dropout, its data shuffled."""
    return f"""name: "small"
layer {{ name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param {{ source: "{folder / "data.txt"}" batch_size: {batch} shuffle: {str(shuffle).lower()} }} }}
layer {{ name: "conv1" type: "{method}Convolution" bottom: "data" top: "conv1"
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }} }}
  {SETTINGS[method].format("convolution")} }}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param {{ kernel_size: 2 stride: 2 }} }}
layer {{ name: "drop1" type: "Dropout" bottom: "pool1" top: "pool1" dropout_param {{ dropout_ratio: 0.2 }} }}
layer {{ name: "ip1" type: "{method}InnerProduct" bottom: "pool1" top: "ip1"
  inner_product_param {{ num_output: 4 weight_filler {{ type: "xavier" }} }}
  {SETTINGS[method].format("inner_product")} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip1" bottom: "label" top: "accuracy"
  include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }}
"""


def solver_text(folder: Path, method: str = "", settings: str = "max_iter: 20") -> str:
    """Writes data and net into the folder and returns a solver's prototxt; ``settings`` stand at its end."""
    write_data(folder)
    (folder / "net.prototxt").write_text(net_text(folder, method))
    return f"""net: "{folder / "net.prototxt"}"
base_lr: 0.05 lr_policy: "inv" gamma: 0.01 power: 0.75 momentum: 0.9 weight_decay: 0.001
random_seed: 3 solver_mode: CPU snapshot_prefix: "{folder / "snap"}"
{settings}
"""


def solver_param(folder: Path, method: str = "", settings: str = "max_iter: 20") -> schema.Message:
    """Returns :func:`solver_text` as a message."""
    return prototxt.parse(solver_text(folder, method, settings), schema.SolverParameter(), "solver.prototxt")
