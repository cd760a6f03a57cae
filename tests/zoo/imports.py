"""Functions that recipes of the tests import: data of every kind, and what is wrong with some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import demitasse
from demitasse.errors import DataError
from demitasse.zoo.data import Batch, TrainingData

if TYPE_CHECKING:
    from somewhere import Unknown

GENERATOR = torch.Generator().manual_seed(0)
INPUTS, LABELS = torch.randn(60, 8, generator=GENERATOR), torch.arange(60) % 3


def tensors() -> Any:
    return (INPUTS, LABELS), (INPUTS[:20], LABELS[:20])


def arrays() -> Any:
    return (INPUTS.double().numpy(), LABELS.numpy().astype(np.uint8)), (INPUTS[:20].numpy(), LABELS[:20].numpy())


class Noisy(Dataset[Any]):
    """Draws noise for every example, as a random augmentation does."""

    def __init__(self, count: int = 60, noise: float = 0.1) -> None:
        self.count, self.noise = count, noise

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return INPUTS[index] + self.noise * torch.randn(8), int(LABELS[index])


class ListLike:
    """Has a length and items, and no base class."""

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return INPUTS[index].numpy(), np.int64(LABELS[index])


def datasets() -> Any:
    return Noisy(), TensorDataset(INPUTS[:20], LABELS[:20])


def list_likes() -> Any:
    return ListLike(), ListLike()


def loaders(generator: bool = False) -> Any:
    own = torch.Generator() if generator else None
    return DataLoader(Noisy(), 10, shuffle=True, generator=own), DataLoader(Noisy(20, 0.0), 8)


def seeded_loaders() -> Any:
    return loaders(True)


def dictionary() -> Any:
    first, second = tensors()
    preparation = demitasse.Preparation("grey", (2, 4))
    return {"train": first, "test": second, "classes": ["a", "b", "c"], "preparation": preparation}


def one_pair() -> Any:
    return INPUTS, LABELS


def one_dataset() -> Any:
    return Noisy(noise=0.0)


class Regression(TrainingData):
    """Data with a loss of its own."""

    metric = "loss"

    @property
    def steps(self) -> int:
        return 3

    def train_batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for _ in range(start, 3):
            yield INPUTS, INPUTS[:, :3]

    def test_batches(self) -> Iterator[Batch]:
        yield INPUTS[:20], INPUTS[:20, :3]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return functional.mse_loss(model(batch[0]), batch[1])

    def measure(self, model: nn.Module, batch: Batch) -> dict[str, float]:
        return {"count": len(batch[0]), "loss": self.loss(model, batch).item() * len(batch[0])}


def training_data() -> Any:
    return Regression()


def settings(count: int, path: Path, seed: int, batch: int = 3, scale: float = 1) -> Any:
    assert (count, path.name, seed, batch, scale) == (20, "files", 5, 10, 2.0)
    return (INPUTS, LABELS), (INPUTS[:count], LABELS[:count])


def strange_annotations(level: Unknown = 1, *, other: int | None = None) -> Any:
    assert (level, other) == ("x", 5)
    return tensors()


def model(width: int = 3) -> nn.Module:
    return nn.Linear(8, width)


# what is wrong


def raises() -> Any:
    raise RuntimeError("no such server")


def raises_typed() -> Any:
    raise DataError("photos: the folder is gone")


def nothing() -> Any:
    return None


def three() -> Any:
    return INPUTS, LABELS, INPUTS


def strings() -> Any:
    return "train", "test"


def lengths() -> Any:
    return (INPUTS, LABELS[:9]), (INPUTS, LABELS)


def no_integers() -> Any:
    return (INPUTS, LABELS.float()), (INPUTS, LABELS)


def negative() -> Any:
    return (INPUTS, LABELS - 1), (INPUTS, LABELS)


def nan() -> Any:
    return (torch.where(INPUTS > 2, torch.nan, INPUTS), LABELS), (INPUTS, LABELS)


def objects() -> Any:
    return (np.array([{}] * 60), LABELS), (INPUTS, LABELS)


def pixels() -> Any:
    return (INPUTS.byte(), LABELS), (INPUTS, LABELS)


def lists() -> Any:
    return (INPUTS.tolist(), LABELS.tolist()), (INPUTS, LABELS)


def one_loader() -> Any:
    return loaders()[0]


def unknown_key() -> Any:
    return {"train": tensors()[0], "valid": tensors()[1]}


def no_train() -> Any:
    return {"test": tensors()[1]}


def classes_text() -> Any:
    return dictionary() | {"classes": "abc"}


def preparation_text() -> Any:
    return dictionary() | {"preparation": "grey"}


def empty() -> Any:
    return (INPUTS[:0], LABELS[:0]), (INPUTS, LABELS)


def empty_dataset() -> Any:
    return Noisy(0), Noisy()


class Endless(IterableDataset[Any]):
    """Has no length."""

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield INPUTS[0], 0


def endless() -> Any:
    return Endless(), Noisy()


def endless_loader() -> Any:
    return DataLoader(Endless(), 4), Noisy()


class Broken(Noisy):
    """Returns what is none, or raises."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def __getitem__(self, index: int) -> Any:
        if self.kind == "raises":
            raise OSError("the disk is gone")
        if self.kind == "typed":
            raise DataError("1.png: no image")
        return {"dictionary": {"x": 1, "y": 2}, "alone": INPUTS[0], "float": (INPUTS[0], 1.5), "label": (INPUTS[0], 9)}[
            self.kind
        ]


def broken(kind: str, loader: bool = False) -> Any:
    found = Broken(kind)
    return (DataLoader(found, 10) if loader else found), Noisy()


def no_module() -> Any:
    return "a model"


def model_raises() -> Any:
    raise ValueError("no weights")
