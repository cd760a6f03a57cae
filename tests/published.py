"""The published sparse LeNet-5, as powers of two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from demitasse.caffe.models.caffemodel import read_model
from demitasse.methods import pow2
from demitasse.packed.tensor import Tensor, of_array


def lenet5(shared: Path) -> list[Tensor]:
    """Returns its blobs, each weight the nearest of the 7 powers of two of its blob."""
    tensors = []
    for layer in read_model(shared / "models/caffe_lenet5_sparse.caffemodel"):
        for number, blob in enumerate(layer.blobs):
            weight = torch.from_numpy(np.array(blob))
            rounded = pow2.project(weight, pow2.grid(float(weight.abs().max()), 7))
            tensors.append(of_array(f"{layer.name}.{number}", rounded.numpy()))
    return tensors
