"""SqueezeNet, versions 1.0 and 1.1."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.zoo.models.base import MODELS

# squeeze and expand channels of the eight fire modules
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


class Fire(nn.Module):
    """A 1x1 convolution to few channels, then 1x1 and 3x3 convolutions, each to half of many channels."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(x))
        return functional.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


class SqueezeNet(nn.Module):
    """Images (n, 3, height, width), usually 224 pixels -> logits (n, classes).

    Parameters have the names of torchvision.

    Args:
        first: the first convolution.
        pooled: indices of the fire modules that have a pooling before them.
        classes: number of classes.
        dropout: probability of dropout.

    Reference: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer 2016, SqueezeNet (arXiv 1602.07360).
    """

    def __init__(self, first: nn.Conv2d, pooled: tuple[int, ...], classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = [first, nn.ReLU()]
        channels = first.out_channels
        for number, (squeezed, expanded) in enumerate(_FIRES):
            if number in pooled:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(Fire(channels, squeezed, expanded))
            channels = 2 * expanded
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(channels, classes, 1), nn.ReLU())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.classifier[1].weight, std=0.01)  # type: ignore[arg-type]

    @override
    def forward(self, images: Tensor) -> Tensor:
        maps = self.classifier(self.features(images))  # (n, classes, h, w)
        logits: Tensor = maps.mean((2, 3))
        return logits


@MODELS.register("squeezenet1_0")
def squeezenet1_0(classes: int = 1000, dropout: float = 0.5) -> SqueezeNet:
    """Returns version 1.0, with 1,248,424 parameters."""
    return SqueezeNet(nn.Conv2d(3, 96, 7, 2), (0, 3, 7), classes, dropout)


@MODELS.register("squeezenet1_1", "squeezenet")
def squeezenet1_1(classes: int = 1000, dropout: float = 0.5) -> SqueezeNet:
    """Returns version 1.1, with 1,235,496 parameters: equally accurate, with less than half of the computation."""
    return SqueezeNet(nn.Conv2d(3, 64, 3, 2), (0, 2, 4), classes, dropout)
