"""Residual networks for photographs: resnet18 and resnet50."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.zoo.models.base import MODELS


class _Block(nn.Module):
    """The base class of blocks: the shortcut around the convolutions."""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class BasicBlock(_Block):
    """Two 3x3 convolutions: (n, inputs, h, w) -> (n, width, h / stride, w / stride)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(_Block):
    """1x1, 3x3, 1x1: (n, inputs, h, w) -> (n, 4 width, h / stride, w / stride); the stride is in the 3x3."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        outputs = self.expansion * width
        super().__init__(inputs, outputs, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Images (n, 3, height, width), usually 224 pixels -> logits (n, classes).

    Parameters have the names of torchvision.

    Args:
        block: the class of the blocks.
        counts: number of blocks in each of the four groups.
        classes: number of classes.

    Reference: He, Zhang, Ren, Sun 2016, Deep Residual Learning for Image Recognition (arXiv 1512.03385), table 1.
    The stride of a bottleneck is in its 3x3 convolution, as in Goyal et al. 2017 (arXiv 1706.02677).
    """

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], counts: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for group, count in enumerate(counts):
            width, strides = 64 << group, [1 if group == 0 else 2] + [1] * (count - 1)
            blocks = []
            for stride in strides:
                blocks.append(block(channels, width, stride))
                channels = block.expansion * width
            self.add_module(f"layer{group + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(images)))
        x = functional.max_pool2d(x, 3, 2, padding=1)
        for group in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = group(x)  # type: ignore[operator]
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


@MODELS.register("resnet18")
def resnet18(classes: int = 1000) -> ResNet:
    """Returns ResNet-18, with 11,689,512 parameters."""
    return ResNet(BasicBlock, (2, 2, 2, 2), classes)


@MODELS.register("resnet50")
def resnet50(classes: int = 1000) -> ResNet:
    """Returns ResNet-50, with 25,557,032 parameters."""
    return ResNet(Bottleneck, (3, 4, 6, 3), classes)
