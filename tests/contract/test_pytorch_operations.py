"""Every operation of PyTorch that graphs know is read as what it is, and computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import demitasse
from demitasse.graph.pytorch import operations
from demitasse.graph.pytorch.reading import OPERATIONS


class Case(NamedTuple):
    """A module that calls an operation.

    Attributes:
        kind: the kind of the step, or None where PyTorch computes it.
        module: what calls it.
        shape: of its input.
    """

    kind: str | None
    module: nn.Module
    shape: tuple[int, ...] = (2, 4, 12, 12)


class Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def norm(**settings: bool) -> nn.BatchNorm2d:
    found = nn.BatchNorm2d(4, **settings)
    assert found.running_mean is not None
    assert found.running_var is not None
    found.running_mean.normal_()
    found.running_var.uniform_(0.5, 2)
    return found


CASES = {
    "aten.conv2d.default": [
        Case("Convolution", nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2)),
        Case("Convolution", nn.Conv2d(4, 6, 3, bias=False)),
    ],
    "aten.conv2d.padding": [
        Case("Convolution", nn.Conv2d(4, 6, 3, padding="same", dilation=(2, 1), groups=2)),
        Case("Convolution", nn.Conv2d(4, 6, (3, 4), padding="valid", bias=False)),
        Case(None, nn.Conv2d(4, 6, (3, 4), padding="same")),
    ],
    "aten.linear.default": [
        Case("InnerProduct", nn.Linear(7, 5), (3, 7)),
        Case("InnerProduct", nn.Linear(7, 5, bias=False), (2, 3, 7)),
    ],
    "aten._native_batch_norm_legit_no_training.default": [
        Case("BatchNorm", norm()),
        Case("BatchNorm", norm(affine=False)),
    ],
    "aten.relu.default": [Case("ReLU", nn.ReLU()), Case("ReLU", nn.ReLU(inplace=True))],
    "aten.leaky_relu.default": [Case("ReLU", nn.LeakyReLU(0.3)), Case("ReLU", nn.LeakyReLU(0.3, inplace=True))],
    "aten.relu6.default": [Case("Clip", nn.ReLU6())],
    "aten.hardtanh.default": [Case("Clip", nn.Hardtanh(-0.5, 0.7)), Case("Clip", nn.Hardtanh(-0.5, 0.7, inplace=True))],
    "aten.add.Tensor": [
        Case("Eltwise", Function(lambda x: x.sin() + x)),
        Case("Eltwise", Function(lambda x: torch.add(x.sin(), x, alpha=-2))),
        Case(None, Function(lambda x: x + 1)),
        Case(None, Function(lambda x: x + x[:, :1])),
        Case(None, Function(lambda x: x + x)),
    ],
    "aten.cat.default": [
        Case("Concat", Function(lambda x: torch.cat([x, x.sin()], 1))),
        Case("Concat", Function(lambda x: torch.cat([x, x.sin()], -1))),
        Case(None, Function(lambda x: torch.cat([x, x]))),
    ],
    "aten.view.default": [
        Case("Flatten", nn.Flatten()),
        Case("Flatten", Function(lambda x: x.view(x.shape[0], -1))),
        Case(None, Function(lambda x: x.view(-1, 2, 2, 12, 12))),
        Case(None, Function(lambda x: x.view(-1, 12))),
    ],
    "aten.mean.dim": [
        Case("GlobalMean", Function(lambda x: x.mean((2, 3)))),
        Case("GlobalMean", Function(lambda x: x.mean((-1, -2), keepdim=True))),
        Case(None, Function(lambda x: x.mean(1))),
        Case(None, Function(lambda x: x.mean(1)), (2, 4)),
    ],
    "aten.max_pool2d.default": [
        Case("Pooling", nn.MaxPool2d(3, 2, 1)),
        Case("Pooling", nn.MaxPool2d(5, 3, ceil_mode=True)),
        Case("Pooling", nn.MaxPool2d((2, 3))),
        Case(None, nn.MaxPool2d(2, dilation=2)),
    ],
    "aten.avg_pool2d.default": [
        Case("Pooling", nn.AvgPool2d(3, 2, 1)),
        Case("Pooling", nn.AvgPool2d(5, 3, 1, ceil_mode=True)),
        Case("Pooling", nn.AvgPool2d(4, count_include_pad=False)),
        Case(None, nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
        Case(None, nn.AvgPool2d(3, 2, 1, divisor_override=4)),
    ],
    "aten.adaptive_avg_pool2d.default": [
        Case("Pooling", nn.AdaptiveAvgPool2d((3, 4))),
        Case(None, nn.AdaptiveAvgPool2d(5)),
    ],
    "aten.softmax.int": [
        Case("Softmax", nn.Softmax(1)),
        Case("Softmax", nn.Softmax(-1), (2, 5)),
        Case(None, Function(lambda x: F.softmax(x, 1, dtype=torch.float64))),
    ],
}
EACH = [pytest.param(case, id=f"{name}-{index}") for name, cases in CASES.items() for index, case in enumerate(cases)]


def test_each_has_a_case() -> None:
    assert operations.OPERATIONS is OPERATIONS
    assert set(CASES) == set(OPERATIONS)


@pytest.mark.parametrize("case", EACH)
def test_it_is_read_and_computes_the_same(case: Case) -> None:
    model = case.module.eval()
    fast = demitasse.optimize(model, torch.randn(case.shape))
    kinds = {step.kind for step in fast.plan.graph.steps}
    known = {known.kind for cases in CASES.values() for known in cases} - {None}
    assert case.kind in kinds if case.kind else not kinds & known
    for batch in (1, 3):
        x = torch.randn(batch, *case.shape[1:])
        with torch.no_grad():
            torch.testing.assert_close(fast(x), model(x.clone()), rtol=1e-5, atol=1e-6)
