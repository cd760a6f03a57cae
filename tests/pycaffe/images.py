"""A net whose outputs are sums of its input's channels, to see what images become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from demitasse.pycaffe import Net
from demitasse.pycaffe.net_spec import NetSpec
from demitasse.pycaffe.net_spec import layers as L


def summing_net(folder: Path, channels: int = 3, size: int = 4) -> tuple[Path, Path]:
    """Writes prototxt and caffemodel of a net that takes images, 2 a batch; output i is the sum of channel i."""
    weight = np.repeat(np.eye(channels), size * size, axis=1)
    return weighing_net(folder, weight.reshape(channels, channels, size, size))


def weighing_net(folder: Path, weight: np.ndarray) -> tuple[Path, Path]:
    """Writes the same of a net whose outputs weigh the values of its input by ``weight`` (outputs, *input)."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, *map(int, weight.shape[1:])]})
    n.ip = L.InnerProduct(n.data, num_output=len(weight), bias_term=False)
    model, weights = folder / "net.prototxt", folder / "net.caffemodel"
    model.write_text(str(n.to_proto()))
    net = Net(str(model), 1)
    net.params["ip"][0].data[...] = weight.reshape(len(weight), -1)
    net.save(str(weights))
    return model, weights


def save_image(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path
