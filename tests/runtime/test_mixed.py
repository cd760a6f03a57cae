"""Plans of which only some parts have kernels of ours."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from demitasse import optimize
from demitasse.runtime.mixed import MixedPlan
from demitasse.runtime.module import OptimizedModule
from demitasse.threads import threads as using
from demitasse.zoo.models import MODELS


class Branches(nn.Module):
    """Convolutions around operations without a kernel of ours; some values are needed by several of them."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, 32, 3, padding=1) for channels in (3, 32, 32, 32))
        self.last = nn.Linear(32, 7)

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        first, second, third, fourth = self.convs
        before = first(images).relu()
        middle = F.gelu(second(before)) + before
        after = third(middle).relu()
        rolled = torch.roll(fourth(after), 1, 3) + middle
        return self.last(rolled.mean((2, 3))).softmax(1), after


def pruned(module: nn.Module, kept: float = 0.1) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in (each for each in module.parameters() if each.ndim > 1):
            weight.mul_(torch.rand_like(weight) < kept)
    return module.eval()


def agree(fast: OptimizedModule, module: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected = module(images)
    found = fast(images)
    for left, right in zip(*[each if isinstance(each, tuple) else (each,) for each in (found, expected)], strict=True):
        assert left.shape == right.shape
        assert float((left - right).abs().max()) <= 1e-5 * float(right.abs().max())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3, 20])
def test_branches(batch: int, threads: int) -> None:
    module = pruned(Branches())
    images = torch.randn(batch, 3, 24, 24)
    fast = optimize(module, images[:1])
    with using(threads):
        agree(fast, module, images)
        agree(fast, module, 10 * images)
        plan = fast.plan.native(batch, threads)
    assert isinstance(plan, MixedPlan)
    assert {part.is_native for part in plan.parts} == {True, False}
    assert sum(len(part.steps) for part in plan.parts) == len(fast.plan.graph.steps)


class Heads(nn.Module):
    """A detector: heads on features of two sizes, whose outputs are brought into another order."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.ModuleList([nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, stride=2)])
        self.heads = nn.ModuleList(nn.Conv2d(64, 24, 3, padding=1) for _ in range(4))

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        large = self.trunk[0](images).relu()
        small = self.trunk[1](large).relu()
        heads = [head(features) for head, features in zip(self.heads, (large, large, small, small), strict=True)]
        moved = [torch.roll(head, 1, 3).permute(0, 2, 3, 1).flatten(1) for head in heads]
        return torch.cat(moved[::2], 1), torch.cat(moved[1::2], 1).softmax(1)


def test_heads_are_computed_together() -> None:
    module = pruned(Heads())
    images = torch.randn(2, 3, 40, 40)
    fast = optimize(module, images)
    agree(fast, module, images)
    plan = fast.plan.native(2, torch.get_num_threads())
    assert isinstance(plan, MixedPlan)
    convolutions = [[step.kind for step in part.steps].count("Convolution") for part in plan.parts]
    assert sorted(convolutions)[-2:] == [0, 6]
    assert [number for part in plan.parts for number in part.dead].count(plan.parts[0].inputs[0]) == 1


def test_slices_and_pads() -> None:
    module = pruned(MODELS["resnet20"]())
    images = torch.randn(4, 3, 32, 32)
    fast = optimize(module, images)
    agree(fast, module, images)
    kernels = {layer.kind: layer.kernel for layer in fast.report(4).layers}
    assert kernels["Convolution"] == "sparse"
    assert kernels["pad"] == "PyTorch"


def test_a_part_that_does_not_pay_is_dense() -> None:
    module = pruned(Branches())
    with torch.no_grad():
        for conv in module.convs[:2]:
            conv.weight.copy_(torch.randn_like(conv.weight))
    images = torch.randn(2, 3, 64, 64)
    fast = optimize(module, images)
    agree(fast, module, images)
    kernels = [layer.kernel for layer in fast.report(2).layers if layer.kind == "Convolution"]
    assert kernels == ["dense", "dense", "sparse", "sparse"]


def test_settings_without_a_kernel() -> None:
    module = pruned(nn.Sequential(nn.Conv2d(3, 32, 3), nn.Softmax(3), nn.Conv2d(32, 32, 3), nn.ReLU()))
    images = torch.randn(2, 3, 40, 40)
    fast = optimize(module, images)
    agree(fast, module, images)
    kernels = [layer.kernel for layer in fast.report(2).layers]
    assert kernels[-1] == "sparse"
    assert "PyTorch" in kernels


def test_results_outlive_the_next_run_and_copies_compute_the_same() -> None:
    module = pruned(Branches())
    images = torch.randn(2, 2, 3, 24, 24)
    fast = optimize(module, images[0])
    (first, kept), again = fast(images[0]), copy.deepcopy(fast)
    saved = first.clone(), kept.clone()
    fast(images[1])
    assert torch.equal(first, saved[0])
    assert torch.equal(kept, saved[1])
    agree(again, module, images[1])


class Offsets(nn.Module):
    """Adds a value of the same shape as its input in the example, whose first size is not the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(4, 32, 3, padding=1), nn.Conv2d(4, 32, 3, padding=1)
        self.register_buffer("marks", torch.randn(2, 4, 20, 20))

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).relu() + self.other(self.marks.roll(1, 3)).sum(0, keepdim=True)


def test_a_first_size_that_is_not_the_batch() -> None:
    module = pruned(Offsets())
    images = torch.randn(2, 4, 20, 20)
    fast = optimize(module, images)
    for batch in (1, 2, 5):
        agree(fast, module, torch.randn(batch, 4, 20, 20))


class Rows(nn.Module):
    """Computes two rows, whatever the size of the batch is."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(2, 256))
        self.first, self.second = nn.Linear(256, 1024), nn.Linear(256, 1024)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(x)) + torch.relu(self.first(x.mean() * self.rows)).sum(0)


def test_rows_that_are_not_the_batch() -> None:
    module = Rows().eval()
    with torch.no_grad():
        for weight in (module.first.weight, module.second.weight):
            weight.mul_(torch.rand_like(weight) < 0.02)
    fast = optimize(module, torch.randn(1, 256))
    for batch in (1, 2, 3):
        agree(fast, module, torch.randn(batch, 256))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 9])
def test_groups_of_images_again_and_again(batch: int, threads: int) -> None:
    module = pruned(nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)))
    images = torch.randn(batch, 3, 64, 64)
    fast = optimize(module, images)
    with using(threads):
        for factor in (1, 2, 3):
            agree(fast, module, factor * images)
