"""Nets of the examples with random weights, of which shares are kept by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from demitasse import examples
from demitasse.caffe.layers.normalization import BatchNorm
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt

FOLDER = Path(examples.__file__).parent
# kept shares of AlexNet after surgery (Guo et al. 2016, table 4)
DNS_ALEXNET = {
    "conv1": 0.538, "conv2": 0.406, "conv3": 0.290, "conv4": 0.323, "conv5": 0.325,
    "fc6": 0.037, "fc7": 0.066, "fc8": 0.046,
}  # fmt: skip
# layer, its number among those with weights, and the weight -> the share that is kept
Shares = Callable[[str, int, torch.Tensor], float]


def all_but_first(sparsity: float) -> Shares:
    return lambda name, number, weight: 1.0 if number == 0 else 1 - sparsity


def everywhere(sparsity: float) -> Shares:
    return lambda name, number, weight: 1 - sparsity


def pointwise(sparsity: float) -> Shares:
    """Convolutions with kernels of 1x1 alone."""
    return lambda name, number, weight: 1 - sparsity if weight.ndim == 4 and weight.shape[2:] == (1, 1) else 1.0


def by_layer(shares: Mapping[str, float]) -> Shares:
    return lambda name, number, weight: shares[name]


def to_powers(net: Net, levels: int = 7) -> None:
    """Makes weights powers of two of as many exponents, and leaves zeros as they are."""
    for layer in net.named_layers().values():
        if layer.spec.type in ("Convolution", "InnerProduct"):
            weight = layer.weight.detach()
            exponents = weight.abs().log2().round()
            least = exponents.max() - levels + 1
            weight.copy_(weight.sign() * exponents.clamp(min=least).exp2())


def sparse_net(name: str, shares: Shares) -> Net:
    """Returns the net without its softmax, with weights that keep numbers at their size."""
    spec = prototxt.read_net(FOLDER / name / "deploy.prototxt")
    if spec.layer[-1].type == "Softmax":
        del spec.layer[-1]
    net, number = Net(spec), 0
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in net.named_layers().values():
            if isinstance(layer, BatchNorm):
                layer.mean.normal_(0, 0.1, generator=generator)
                layer.variance.uniform_(0.5, 1.5, generator=generator)
                layer.factor.fill_(1)
            elif layer.spec.type == "Scale":
                layer.weight.uniform_(0.2, 0.7, generator=generator)
                layer.bias.normal_(0, 0.1, generator=generator)
            elif "weight" in layer.blob_names:
                weight = layer.weight
                share = shares(layer.spec.name, number, weight)
                weight.normal_(0, (2 / (weight[0].numel() * max(share, 1e-3))) ** 0.5, generator=generator)
                weight.mul_(torch.rand(weight.shape, generator=generator) < share)
                number += 1
    return net
