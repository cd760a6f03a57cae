"""A small net with batch norm, its data and its loop, for the tests of methods on modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import demitasse
from demitasse.methods import pow2
from demitasse.methods.method import Method
from demitasse.methods.records import CUT, FROZEN, PRUNED


class Net(nn.Module):
    """conv (4, 1, 3, 3), batch norm, linear (10, 144)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(144, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.relu(self.norm(self.conv(images))).flatten(1))


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def batches(count: int, seed: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.randn(16, 1, 8, 8, generator=generator), torch.randint(0, 10, (16,), generator=generator)


def backward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    images, labels = batch
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return loss


def train(
    model: nn.Module, optimizer: Optimizer, steps: int, seed: int = 1, after: Callable[[], None] | None = None
) -> None:
    for batch in batches(steps, seed):
        backward(model, batch)
        optimizer.step()
        if after:
            after()


def sgd(model: nn.Module, **settings: object) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3, **settings})  # type: ignore[arg-type]


def pruned(model: nn.Module, optimizer: torch.optim.Optimizer, **settings: object) -> demitasse.Surgery:
    return demitasse.Surgery(model, optimizer, **{"sparsity": 0.8, "ramp": 5, "gamma": 0.0, **settings})  # type: ignore[arg-type]


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=1e-1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, weight_decay=1e-2),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.9, weight_decay=1e-2),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=1e-2, weight_decay=1e-2),
    "LARS": lambda p: demitasse.optim.LARS(p, lr=0.5, momentum=0.9, weight_decay=1e-2),
}


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def check(model: nn.Module, *methods: Method) -> None:
    """Holds that cut weights are exactly 0, and frozen ones exactly what they were and powers of two."""
    for method in methods:
        for record in method.records.values():
            values = record.values
            assert not values[(record.status == CUT) | (record.status == PRUNED)].any()
            assert pow2.on_grid(values[record.status == FROZEN]).all()
