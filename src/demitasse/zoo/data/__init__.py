"""Built-in data sets, each in its own file. To add one: write its file, register it, import the file here."""

from demitasse.zoo.data import cifar10, digits, text
from demitasse.zoo.data.base import DATASETS, Batch, TrainingData

__all__ = ["DATASETS", "Batch", "TrainingData"]

_SOURCES = (digits, cifar10, text)
