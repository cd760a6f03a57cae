"""AlexNet, GoogLeNet, ResNet-50 and SqueezeNet v1.0 as a PyTorch user writes them, to compare with.

Their modules stand in the order of the Caffe nets' layers, so that weights are copied one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from demitasse.caffe import schema
from demitasse.caffe.layers import LAYERS
from demitasse.caffe.net import Net

_INCEPTIONS = {
    "3a": (192, (64, 96, 128, 16, 32, 32)),
    "3b": (256, (128, 128, 192, 32, 96, 64)),
    "4a": (480, (192, 96, 208, 16, 48, 64)),
    "4b": (512, (160, 112, 224, 24, 64, 64)),
    "4c": (512, (128, 128, 256, 24, 64, 64)),
    "4d": (512, (112, 144, 288, 32, 64, 64)),
    "4e": (528, (256, 160, 320, 32, 128, 128)),
    "5a": (832, (256, 160, 320, 32, 128, 128)),
    "5b": (832, (384, 192, 384, 48, 128, 128)),
}
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def norm() -> nn.Module:
    """Ours on both sides: PyTorch's own is so slow that it would hide what everything else costs."""
    spec = schema.LayerParameter(name="norm", type="LRN")
    spec.lrn_param.local_size, spec.lrn_param.alpha, spec.lrn_param.beta = 5, 1e-4, 0.75
    layer = LAYERS["LRN"](spec)
    layer.setup((1, 1, 1, 1))
    return layer


def pool() -> nn.Module:
    """The pooling between the groups of all four."""
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def relu() -> nn.Module:
    """In place, as users do it."""
    return nn.ReLU(inplace=True)


def alexnet() -> nn.Sequential:
    """The net of Krizhevsky et al. 2012, as Caffe has it in one tower with groups."""
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 11, stride=4), relu(), norm(), pool()),
        *(nn.Conv2d(96, 256, 5, padding=2, groups=2), relu(), norm(), pool()),
        *(nn.Conv2d(256, 384, 3, padding=1), relu()),
        *(nn.Conv2d(384, 384, 3, padding=1, groups=2), relu()),
        *(nn.Conv2d(384, 256, 3, padding=1, groups=2), relu(), pool(), nn.Flatten()),
        *(nn.Linear(9216, 4096), relu(), nn.Dropout()),
        *(nn.Linear(4096, 4096), relu(), nn.Dropout()),
        *(nn.Linear(4096, 1000), nn.Softmax(1)),
    )


class Inception(nn.Module):
    """Four ways side by side: 1x1; 1x1, 3x3; 1x1, 5x5; pooling, 1x1."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, widths[0], 1)
        self.reduce3 = nn.Conv2d(inputs, widths[1], 1)
        self.three = nn.Conv2d(widths[1], widths[2], 3, padding=1)
        self.reduce5 = nn.Conv2d(inputs, widths[3], 1)
        self.five = nn.Conv2d(widths[3], widths[4], 5, padding=2)
        self.project = nn.Conv2d(inputs, widths[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.three(functional.relu_(self.reduce3(x)))
        five = self.five(functional.relu_(self.reduce5(x)))
        pooled = self.project(functional.max_pool2d(x, 3, 1, 1))
        return functional.relu_(torch.cat([self.one(x), three, five, pooled], 1))


def googlenet() -> nn.Module:
    """The net of Szegedy et al. 2014 without its auxiliary classifiers."""
    inceptions = {name: Inception(*settings) for name, settings in _INCEPTIONS.items()}
    parts: list[nn.Module] = [
        *(nn.Conv2d(3, 64, 7, 2, 3), relu(), pool(), norm()),
        *(nn.Conv2d(64, 64, 1), relu(), nn.Conv2d(64, 192, 3, padding=1), relu(), norm(), pool()),
    ]
    for name, inception in inceptions.items():
        parts += [inception, pool()] if name in ("3b", "4e") else [inception]
    return nn.Sequential(*parts, nn.AvgPool2d(7), nn.Flatten(), nn.Dropout(0.4), nn.Linear(1024, 1000), nn.Softmax(1))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and the way around them, which has a convolution in the first block of a group."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.around = _normed(inputs, 4 * width, 1, stride) if inputs != 4 * width else None
        self.first = _normed(inputs, width, 1, stride)
        self.second = _normed(width, width, 3, 1, 1)
        self.third = _normed(width, 4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu_(self.second(functional.relu_(self.first(x))))
        return functional.relu_(self.third(y).add_(x if self.around is None else self.around(x)))


def _normed(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False), nn.BatchNorm2d(outputs))


def resnet50() -> nn.Module:
    """The net of He et al. 2015, strides in the first 1x1 of a group."""
    blocks, channels = [], 64
    for group, count in enumerate((3, 4, 6, 3)):
        for number in range(count):
            blocks.append(Bottleneck(channels, 64 << group, 2 if group and not number else 1))
            channels = 256 << group
    head = (nn.AvgPool2d(7), nn.Flatten(), nn.Linear(2048, 1000), nn.Softmax(1))
    return nn.Sequential(_normed(3, 64, 7, 2, 3), relu(), pool(), *blocks, *head)


class Fire(nn.Module):
    """Few channels by a 1x1 convolution, then many: half of them by 1x1, half by 3x3."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.one = nn.Conv2d(squeezed, expanded, 1)
        self.three = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu_(self.squeeze(x))
        return functional.relu_(torch.cat([self.one(x), self.three(x)], 1))


def squeezenet() -> nn.Module:
    """Version 1.0 of Iandola et al. 2016."""
    parts: list[nn.Module] = [nn.Conv2d(3, 96, 7, 2), relu(), pool()]
    channels = 96
    for number, (squeezed, expanded) in enumerate(_FIRES, 2):
        parts.append(Fire(channels, squeezed, expanded))
        channels = 2 * expanded
        if number in (4, 8):
            parts.append(pool())
    head = (nn.Dropout(), nn.Conv2d(512, 1000, 1, padding=1), relu(), nn.AdaptiveAvgPool2d(1), nn.Softmax(1))
    return nn.Sequential(*parts, *head)


NETS = {"alexnet": alexnet, "googlenet": googlenet, "resnet50": resnet50, "squeezenet": squeezenet}


def bare(name: str, net: Net) -> nn.Module:
    """Returns the modules with the weights of the Caffe net, for use."""
    module = NETS[name]().eval()
    layers = iter(net.named_layers().values())
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                _copy(part.weight, part.bias, _next(layers, "Convolution", "InnerProduct"))
            elif isinstance(part, nn.BatchNorm2d):
                mean, variance, factor = _next(layers, "BatchNorm")
                part.running_mean.copy_(mean / factor)  # type: ignore[union-attr]
                part.running_var.copy_(variance / factor)  # type: ignore[union-attr]
                _copy(part.weight, part.bias, _next(layers, "Scale"))
    return module


def _next(layers: Iterator[nn.Module], *types: str) -> list[Tensor]:
    found = next(layer for layer in layers if layer.spec.type in types)
    return found.blobs()


def _copy(weight: Tensor, bias: Tensor | None, blobs: list[Tensor]) -> None:
    weight.copy_(blobs[0])
    if bias is not None:
        bias.copy_(blobs[1])
