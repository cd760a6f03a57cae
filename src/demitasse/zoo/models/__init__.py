"""Built-in models, one family in each file. To add one: write its file, register a builder, import the file here."""

from demitasse.zoo.models import alexnet, gpt, lenet, resnet, resnet_cifar, squeezenet
from demitasse.zoo.models.base import MODELS

__all__ = ["MODELS"]

_FAMILIES = (lenet, resnet_cifar, alexnet, squeezenet, resnet, gpt)
