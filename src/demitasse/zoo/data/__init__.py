"""Built-in data sets, each in its own file. To add one: write its file, register it, import the file here."""

from demitasse.zoo.data import cifar10, digits, files, npz, text
from demitasse.zoo.data.base import DATASETS, Batch, SampledData, TrainingData
from demitasse.zoo.data.classification import ClassificationData
from demitasse.zoo.data.own import OwnData, own_data

__all__ = ["DATASETS", "Batch", "ClassificationData", "OwnData", "SampledData", "TrainingData", "own_data"]

_SOURCES = (digits, cifar10, text, files, npz)
