"""The small residual networks for CIFAR: resnet20, resnet32, resnet56."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.zoo.models.base import MODELS

_WIDTHS = (16, 32, 64)


class Shortcut(nn.Module):
    """Option A of the paper: every second pixel, and zeros for the additional channels; no parameters."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.padding = (outputs - inputs) // 2

    @override
    def forward(self, x: Tensor) -> Tensor:
        # (n, inputs, h, w) -> (n, outputs, h / 2, w / 2)
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity() if stride == 1 else Shortcut(inputs, outputs)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """Images (n, 3, 32, 32) -> logits (n, classes).

    Args:
        blocks: number of blocks in each of the three groups, with 16, 32 and 64 channels at 32, 16 and 8 pixels.
        classes: number of classes.

    Reference: He, Zhang, Ren, Sun 2016, Deep Residual Learning for Image Recognition (arXiv 1512.03385), section 4.2.
    """

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        first, second, third = _WIDTHS
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = _group(first, first, blocks)
        self.layer2 = _group(first, second, blocks)
        self.layer3 = _group(second, third, blocks)
        self.linear = nn.Linear(third, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))  # (n, 64, 8, 8)
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def _group(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    stride = 1 if inputs == outputs else 2
    rest = [CifarBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(CifarBlock(inputs, outputs, stride), *rest)


@MODELS.register("resnet20")
def resnet20(classes: int = 10) -> CifarResNet:
    """Returns ResNet-20, with 0.27 million parameters."""
    return CifarResNet(3, classes)


@MODELS.register("resnet32")
def resnet32(classes: int = 10) -> CifarResNet:
    """Returns ResNet-32, with 0.46 million parameters."""
    return CifarResNet(5, classes)


@MODELS.register("resnet56")
def resnet56(classes: int = 10) -> CifarResNet:
    """Returns ResNet-56, with 0.85 million parameters."""
    return CifarResNet(9, classes)
