"""Hidden units of PyTorch modules: which may move, and that the module computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import demitasse
from demitasse.errors import UsageError
from demitasse.reorder import find_links, reorder_units


def pruned(model: nn.Module) -> nn.Module:
    """Fills a module with few powers of two, so that sums of whole numbers are exact; returns it."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                kept = torch.rand(tensor.shape, generator=generator) < torch.rand(
                    (*tensor.shape[:1], *(1 for _ in tensor.shape[1:])), generator=generator
                )
                sizes = torch.exp2(torch.randint(-2, 1, tensor.shape, generator=generator).float())
                signs = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
                tensor.copy_(sizes + 1 if name.endswith("running_var") else kept * sizes * signs)
    return model.eval()


def images(*shape: int) -> Tensor:
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(1)).double()


class Net(nn.Module):
    """A convolution, something between, and a linear layer."""

    def __init__(self, between: Callable[[Tensor], Tensor], features: int = 8 * 49, **layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3)
        self.between = between
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.fc = nn.Linear(features, 5)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.between(self.conv(x)))


def between(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


MOVES = {
    "relu": between(nn.ReLU(), nn.Flatten()),
    "functions": lambda x: torch.flatten(F.dropout(F.relu(x, inplace=True), 0.5, False), 1),
    "methods": lambda x: x.relu().contiguous().flatten(start_dim=1),
    "pooling": lambda x: torch.flatten(F.avg_pool2d(F.max_pool2d(x, 3, 1, 1), 3, 1, 1), 1),
    "modules": between(nn.MaxPool2d(3, 1, 1), nn.GELU(), nn.Dropout(), nn.AdaptiveAvgPool2d(7), nn.Flatten()),
    "sigmoid": between(nn.Sigmoid(), nn.Flatten()),
    "prelu": between(nn.PReLU(8), nn.PReLU(), nn.Flatten()),
    "batch norm": between(nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()),
}


def dead_norms(model: nn.Module) -> int:
    """Returns how many channels batch normalization multiplies by zero and adds nothing to."""
    state = model.state_dict()
    found = [name for name in state if name.endswith("running_var")]
    return sum(int(((state[n[:-11] + "weight"] == 0) & (state[n[:-11] + "bias"] == 0)).sum()) for n in found)


@pytest.mark.parametrize("remove_dead", [False, True])
@pytest.mark.parametrize("case", MOVES)
def test_what_may_stand_between(case: str, remove_dead: bool) -> None:
    model, x = pruned(Net(MOVES[case])).double(), images(4, 2, 9, 9)
    with torch.no_grad():
        model.conv.weight[[1, 4]] = 0  # type: ignore[index, operator]
        model.conv.bias[[1, 4]] = torch.tensor([1.0, 0.0]).double()  # type: ignore[index, operator]
    found = reorder_units(model, x, remove_dead=remove_dead, budget=100_000)
    before, after = model.state_dict(), found.state_dict()
    assert not torch.equal(after["conv.weight"], before["conv.weight"])
    # of units without weights the one with a bias stays, and both where zeros become something else
    dead = {"sigmoid": 0, "batch norm": dead_norms(model)}.get(case, 1)
    assert len(after["conv.weight"]) == 8 - dead * remove_dead
    # sums in another order, of values that are no whole numbers
    torch.testing.assert_close(found(x), model(x), rtol=1e-12, atol=1e-12)


STAYS = {
    "sum": lambda x: torch.flatten(x + x.relu(), 1),
    "concatenation": lambda x: torch.flatten(torch.cat([x, x], 1)[:, :8], 1),
    "softmax": between(nn.Softmax(1), nn.Flatten()),
    "local response": between(nn.LocalResponseNorm(3), nn.Flatten()),
    "another flatten": lambda x: x.flatten(2).transpose(1, 2).flatten(1),
    "a size": lambda x: torch.flatten(x * x.size(1), 1),
    "norm of values": between(nn.Flatten(), nn.BatchNorm1d(8 * 49)),
    "a view": lambda x: torch.flatten(x.view(-1, 8, 7, 7), 1),
}


@pytest.mark.parametrize("case", STAYS)
def test_units_that_keep_their_order(case: str) -> None:
    assert find_links(Net(STAYS[case]), images(4, 2, 9, 9).float()) == []


def test_layers_that_must_be_left_alone() -> None:
    twice = nn.Linear(6, 6)
    x = torch.zeros(2, 6)
    assert find_links(nn.Sequential(twice, nn.ReLU(), twice), x) == []
    tied = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    tied[2].weight = tied[0].weight
    assert find_links(tied, x) == []
    grouped = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 1))
    assert find_links(grouped, torch.zeros(1, 2, 9, 9)) == []
    # the linear layer sees the width of the images, which happens to be that of the channels
    width = nn.Sequential(nn.Conv2d(2, 7, 3), nn.ReLU(), nn.Linear(7, 3))
    assert find_links(width, torch.zeros(1, 2, 9, 9)) == []

    class Own(nn.Linear):
        pass

    assert find_links(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), Own(6, 3)), x) == []


def test_a_net_of_many_layers(tmp_path: Path) -> None:
    model = pruned(
        nn.Sequential(
            *(nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(16 * 4, 30), nn.ReLU(), nn.Linear(30, 4)),
        )
    )
    with torch.no_grad():
        model[4].weight[[2, 3]] = 0  # type: ignore[index, operator]
        model[4].bias[2:4] = torch.tensor([0.0, 1.0])  # type: ignore[index, operator]
        model[10].weight[:, 5] = 0  # type: ignore[index, operator]
    x = images(3, 1, 8, 8).float()
    found = demitasse.reorder_units(model, (x,), remove_dead=True, budget=500_000)
    assert [each.units for each in find_links(model, x)] == [
        ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var"),
        ("4.weight", "4.bias"),
        ("8.weight", "8.bias"),
    ]
    assert (found[4].out_channels, found[8].in_features) == (15, 60)  # type: ignore[index]
    assert found[8].out_features == found[10].in_features == len(found[8].weight) < 30  # type: ignore[index]
    torch.testing.assert_close(found(x), model(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(found[10].bias, model[10].bias)  # type: ignore[arg-type, index]
    sizes = [demitasse.save(each, tmp_path / "net.demi") for each in (model, found)]
    assert sizes[1] < sizes[0]
    fresh = demitasse.load(tmp_path / "net.demi", into=found)
    assert isinstance(fresh, nn.Module)


def test_the_model_itself_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 9), nn.Dropout(), nn.Linear(9, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    model[1].eval()
    reorder_units(model, torch.zeros(1, 4), budget=50_000)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model] == [True, False, True]


def test_modules_that_cannot_be_traced() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UsageError, match=r"^the hidden units of Branch cannot be found by torch\.fx: "):
        reorder_units(Branch(), torch.zeros(1))
    with pytest.raises(UsageError, match="cannot be found"):
        reorder_units(nn.Linear(3, 2), torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((3, torch.zeros(1, 8)), {}, "model is 3"),
        ((nn.Linear(8, 2), torch.zeros(1, 8)), {"remove_dead": "x"}, "remove_dead is 'x'"),
        ((nn.Linear(8, 2), torch.zeros(1, 8)), {"search": 3}, "search is 3"),
        ((nn.Linear(8, 2), torch.zeros(1, 8)), {"budget": -1}, "budget is -1"),
        ((nn.Linear(8, 2), torch.zeros(1, 7)), {}, "mat1 and mat2 shapes cannot be multiplied"),
        ((nn.Linear(8, 2), 3), {}, "cannot be found"),
    ],
)
def test_wrong_arguments(
    arguments: tuple[Any, ...], settings: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=message):
        reorder_units(*arguments, **settings)
    assert capfd.readouterr() == ("", "")
