"""Data of the user's own: what a function of the user returned, made a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from typing_extensions import override

from demitasse.arrays import Array
from demitasse.errors import DataError
from demitasse.preparation import Preparation
from demitasse.zoo.data.base import Batch, TrainingData, check_batches
from demitasse.zoo.data.checks import checked_batch
from demitasse.zoo.data.classification import ClassificationData
from demitasse.zoo.data.examples import DatasetExamples, Examples, LoaderExamples, TensorExamples
from demitasse.zoo.data.splitting import split_by_class

_KEYS = ("train", "test", "classes", "preparation")
_EXPECTED = (
    "expected (train, test), each a pair (inputs, labels) of tensors or arrays, a Dataset or a DataLoader; or one of "
    f"them alone, but no DataLoader; or a dictionary with some of {', '.join(_KEYS)}; or a TrainingData"
)


class OwnData(ClassificationData):
    """Examples of classes, to train and to test with.

    Args:
        train: what to train with.
        test: what to test with.
        seed: seed of the order.
        label_count: the largest known label plus 1.
    """

    def __init__(self, train: Examples, test: Examples, seed: int = 1, label_count: int = 0) -> None:
        self.train, self.test, self.seed, self.label_count = train, test, seed, label_count

    @property
    @override
    def steps(self) -> int:
        return self.train.steps

    @override
    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        return self._counted(self.train.shuffled(np.random.default_rng([self.seed, epoch]), start))

    @override
    def test_batches(self) -> Iterator[Batch]:
        return self._counted(self.test.in_order())

    def _counted(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yields the batches, and notes the largest label, before a model computes with it."""
        for inputs, labels in batches:
            self.label_count = max(self.label_count, int(labels.max()) + 1)
            yield inputs, labels


def own_data(
    found: object, place: str, batch: int = 128, seed: int = 1, test_batch: int = 500, test_share: float = 0.2
) -> TrainingData:
    """Returns a data set of what a function of the user returned.

    Args:
        found: one of

            - ``(train, test)``, each of them a pair ``(inputs, labels)`` of tensors or arrays, a map-style
              ``torch.utils.data.Dataset`` of such pairs for one example, or a ``DataLoader`` of such batches;
            - one of these alone, but no DataLoader, of which a share of each class is for testing;
            - a dictionary of ``train``, ``test`` (or ``train`` alone), ``classes``, the names of the classes, and
              ``preparation``, a :class:`demitasse.Preparation`, which are kept in packed files;
            - a :class:`TrainingData`, for another loss or metric.

            Inputs are (n, ...) floating-point numbers as the model takes them, or integers such as tokens; labels are
            (n,) integers from 0 on.
        place: of the data, for messages.
        batch: number of examples in a training batch of tensors or a Dataset.
        seed: seed of the order.
        test_batch: number of examples in a test batch of tensors or a Dataset.
        test_share: the share of each class to test with if there are no test examples.

    Raises:
        DataError: it is something else, or its values are not valid; says what was found and expected.
        UsageError: a setting is not valid.
    """
    if isinstance(found, TrainingData):
        return found
    check_batches(batch, test_batch)
    given = _as_mapping(found, place)
    notes: list[str] = []
    if given.get("test") is None:
        train, test, notes = _split(given["train"], place, batch, test_batch, test_share)
    else:
        train, test = (
            _part(given["train"], f"{place}: train", batch),
            _part(given["test"], f"{place}: test", test_batch),
        )
    labels = [int(part.labels.max()) + 1 for part in (train, test) if isinstance(part, TensorExamples)]
    data = OwnData(train, test, seed, max(labels, default=0))
    data.notes = notes
    data.classes = _classes(given.get("classes"), place)
    data.preparation = _preparation(given.get("preparation"), place)
    return data


def _as_mapping(found: object, place: str) -> Mapping[str, object]:
    if isinstance(found, Mapping):
        unknown = [str(key) for key in found if key not in _KEYS]
        if unknown or found.get("train") is None:
            wrong = f"a dictionary with {', '.join(unknown)}" if unknown else "a dictionary without train"
            raise DataError(f"{place}: found {wrong}; {_EXPECTED}")
        return found
    is_pair = isinstance(found, tuple | list) and len(found) == 2
    if is_pair and not _is_values(found[0]):  # type: ignore[index]
        return {"train": found[0], "test": found[1]}  # type: ignore[index]
    return {"train": found}


def _is_values(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _part(found: object, place: str, batch: int) -> Examples:
    if isinstance(found, DataLoader):
        return LoaderExamples(found, place)
    if _is_dataset(found):
        return DatasetExamples(found, batch, place)  # type: ignore[arg-type]
    return TensorExamples(*_tensors(found, place), batch)


def _is_dataset(found: object) -> bool:
    plain = isinstance(found, Tensor | np.ndarray | tuple | list | str | bytes | Mapping)
    return isinstance(found, Dataset) or (not plain and hasattr(found, "__getitem__") and hasattr(found, "__len__"))


def _tensors(found: object, place: str) -> Batch:
    if not (isinstance(found, tuple | list) and len(found) == 2):
        shown = f"{len(found)} values" if isinstance(found, tuple | list) else f"a {type(found).__name__}"
        raise DataError(f"{place}: found {shown}; {_EXPECTED}")
    return checked_batch(found[0], found[1], place)


def _split(
    found: object, place: str, batch: int, test_batch: int, share: float
) -> tuple[Examples, Examples, list[str]]:
    """Returns what to train and to test with, of examples without a split, and notes."""
    if isinstance(found, DataLoader | IterableDataset):
        raise DataError(f"{place}: found a {type(found).__name__} alone, which cannot be split; {_EXPECTED}")
    if _is_dataset(found):
        whole = DatasetExamples(found, test_batch, place)  # type: ignore[arg-type]
        labels = torch.cat([labels for _, labels in whole.in_order()])
        train, test, note = split_by_class(_one_each(labels, place), share, place)
        parts = (
            DatasetExamples(whole.dataset, size, place, which) for which, size in ((train, batch), (test, test_batch))
        )
        return *parts, [note]  # type: ignore[return-value]
    inputs, labels = _tensors(found, place)
    train, test, note = split_by_class(_one_each(labels, place), share, place)
    which = (torch.from_numpy(train), torch.from_numpy(test))
    first, second = (
        TensorExamples(inputs[one], labels[one], size) for one, size in zip(which, (batch, test_batch), strict=True)
    )
    return first, second, [note]


def _one_each(labels: Tensor, place: str) -> Array:
    if labels.ndim != 1:
        raise DataError(f"{place}: labels have shape {tuple(labels.shape)}, so they cannot be split; {_EXPECTED}")
    found: Array = labels.numpy()
    return found


def _classes(found: object, place: str) -> Sequence[str]:
    if found is None:
        return ()
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{place}: classes is a {type(found).__name__}; expected a list of names")
    return found


def _preparation(found: object, place: str) -> Preparation | None:
    if found is not None and not isinstance(found, Preparation):
        raise DataError(f"{place}: preparation is a {type(found).__name__}; expected a demitasse.Preparation")
    return found
