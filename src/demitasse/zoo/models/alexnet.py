"""AlexNet in its second version, with one tower."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from demitasse.zoo.models.base import MODELS


class AlexNet(nn.Module):
    """Images (n, 3, height, width), at least 63 pixels, usually 224 -> logits (n, classes); 61,100,840 parameters.

    Parameters have the names of torchvision.

    Args:
        classes: number of classes.
        dropout: probability of dropout.

    Reference: Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks (arXiv 1404.5997).
    """

    def __init__(self, classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, 64, kernel_size=11, stride=4, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(64, 192, kernel_size=5, padding=2),
            nn.MaxPool2d(3, 2),
            *_convolution(192, 384, kernel_size=3, padding=1),
            *_convolution(384, 256, kernel_size=3, padding=1),
            *_convolution(256, 256, kernel_size=3, padding=1),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU()),
            nn.Linear(4096, classes),
        )

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = self.avgpool(self.features(images))  # (n, 256, 6, 6)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def _convolution(inputs: int, outputs: int, **settings: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, **settings), nn.ReLU()  # type: ignore[arg-type]


MODELS.register("alexnet")(AlexNet)
