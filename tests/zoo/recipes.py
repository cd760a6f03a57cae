"""A small recipe for the tests, and a stand-in for a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from demitasse.zoo.records import Result
from demitasse.zoo.runner import Watch
from demitasse.zoo.training import TrainingRun

SMALL = """
seed = 3
threads = 1
checkpoint = 2

[model]
name = "lenet300"
inputs = 64

[data]
name = "digits"
batch = 250

[training]
lr = 0.1
momentum = 0.9
epochs = 2

[[stages]]
kind = "train"

[[stages]]
kind = "surgery"
sparsity = 0.9
gamma = 0
parameters = ["fc*", "*.bias"]

[[stages]]
kind = "quantize"
exponents = 7
epochs = 1
portions = [0.6, 1.0]
parameters = ["fc*", "*.bias"]

[[stages]]
kind = "pack"
format = "4/8"
"""


class Killed(Exception):
    """Stands for a kill."""


def kill_after(batches: int) -> Watch:
    """Returns a watch that stops the run after so many batches in all."""
    seen = 0

    def step(run: TrainingRun, total: int) -> None:
        nonlocal seen
        seen += 1
        if seen == batches:
            raise Killed

    return Watch(step=step)


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return found


def same_weights(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_seconds(results: list[Result]) -> list[Any]:
    return [
        (one.name, one.tests, one.kept, one.bytes, [{**epoch, "seconds": 0} for epoch in one.history], one.report)
        for one in results
    ]


def imported_model(width: int = 8) -> nn.Module:
    """What a recipe of the tests imports."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def convolutions() -> nn.Module:
    """A model with batch normalization."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


class Branching(nn.Module):
    """A model without a fixed graph: what it does depends on values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    @override
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(images.flatten(1))
        return logits if logits.sum() > 0 else -logits


SMALL_CONVOLUTIONS = """
threads = 1
model = { import = "tests.zoo.recipes:convolutions" }
data = { name = "digits", batch = 100 }
stages = [{ kind = "train", epochs = 1, lr = 0.1 }, { kind = "recalibrate", batches = 3 }]
"""
