"""The two LeNets of papers on compression."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from demitasse.zoo.models.base import MODELS


class LeNet5(nn.Module):
    """Images (n, 1, 28, 28) -> logits (n, classes), as in Caffe's example; 431,080 parameters.

    Args:
        classes: number of classes.

    Reference: LeCun, Bottou, Bengio, Haffner 1998, Gradient-Based Learning Applied to Document Recognition; wider,
    and with max pooling and one ReLU, as in Caffe.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.fc2 = nn.Linear(500, classes)
        _fill(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = functional.max_pool2d(self.conv1(images), 2)  # (n, 20, 12, 12)
        x = functional.max_pool2d(self.conv2(x), 2)  # (n, 50, 4, 4)
        logits: Tensor = self.fc2(functional.relu(self.fc1(x.flatten(1))))
        return logits


class LeNet300(nn.Module):
    """Images of any shape with ``inputs`` pixels -> logits (n, classes); 266,610 parameters.

    Args:
        inputs: number of pixels of an image.
        classes: number of classes.

    Reference: LeCun et al. 1998, the fully connected 28x28-300-100-10.
    """

    def __init__(self, inputs: int = 784, classes: int = 10) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, classes)
        _fill(self)

    @override
    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.fc1(images.flatten(1)))
        logits: Tensor = self.fc3(functional.relu(self.fc2(x)))
        return logits


def _fill(model: nn.Module) -> None:
    """Initializes weights as Caffe's "xavier" (uniform with variance 1 / inputs), and biases with 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = (3 / module.weight[0].numel()) ** 0.5
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]


MODELS.register("lenet5")(LeNet5)
MODELS.register("lenet300")(LeNet300)
