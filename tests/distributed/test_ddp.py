"""DistributedDataParallel: every process takes the same decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import demitasse
from demitasse.methods.method import Method
from tests.distributed.processes import all_equal, digest, start
from tests.methods.playground import backward, batches, check, net, sgd

STEPS = 100


def compare(model: nn.Module, *methods: Method) -> None:
    states = [tensor for method in methods for tensor in method.masks().values()]
    status = [record.status for method in methods for record in method.records.values()]
    assert all_equal(digest([*model.parameters(), *states, *status]))
    check(model, *methods)


def steps(wrapped: nn.Module, optimizer: torch.optim.Optimizer, count: int, *methods: Method) -> None:
    rank = distributed.get_rank()
    for batch in batches(count, seed=100 + rank):
        backward(wrapped, batch)
        optimizer.step()
        compare(wrapped, *methods)


def surgery_then_quantization(rank: int, settings: dict[str, Any], before: bool, partition: str) -> None:
    model = net(seed=rank)  # ranks are seeded differently; DDP takes rank 0's weights
    torch.manual_seed(1000 + rank)
    settings = {**settings, "seed": rank}
    if before:
        optimizer = sgd(model)
        surgery = demitasse.Surgery(model, optimizer, **settings)
        wrapped = DistributedDataParallel(model)
    else:
        wrapped = DistributedDataParallel(model)
        optimizer = sgd(wrapped)
        surgery = demitasse.Surgery(wrapped, optimizer, **settings)
    steps(wrapped, optimizer, STEPS, surgery)
    assert list(surgery.records) == ["conv.weight", "fc.weight"]
    assert 0.3 < surgery.report().sparsity < 0.95
    quantize = demitasse.IncrementalQuantization(
        wrapped if rank else model,
        optimizer,
        bits=4,
        partition=partition,
        seed=rank,  # type: ignore[arg-type]
    )
    for _ in quantize:
        compare(wrapped, surgery, quantize)
        steps(wrapped, optimizer, STEPS // 4, surgery, quantize)
    assert all_equal(str(quantize.report()))
    assert quantize.finish().frozen_share == 1


def recalibrate(rank: int) -> None:
    data = [[images + other for images, _ in batches(3, seed=other)] for other in (0, 1)]
    wrapped = DistributedDataParallel(net())
    demitasse.recalibrate_batch_norm(wrapped, data[rank])
    found = wrapped.module.norm
    assert all_equal(digest([found.running_mean, found.running_var]))
    alone = [net(), net()]
    for model, mine in zip(alone, data, strict=True):
        demitasse.recalibrate_batch_norm(model, mine)
    for name in ("running_mean", "running_var"):
        one, other = (model.norm.get_buffer(name) for model in alone)
        torch.testing.assert_close(found.get_buffer(name), (one + other) / 2)


def test_batch_norm_is_recalibrated_over_all_processes(tmp_path: Path) -> None:
    start(recalibrate, tmp_path)


@pytest.mark.parametrize(
    ("settings", "before", "partition"),
    [
        ({"sparsity": 0.8, "ramp": 60, "gamma": 0.05}, True, "random"),
        ({"c_rate": 0.5, "gamma": 0.05}, False, "magnitude"),
    ],
    ids=["sparsity, attached before wrapping", "c_rate, attached after wrapping"],
)
def test_masks_and_weights_are_equal_after_every_step(
    tmp_path: Path, settings: dict[str, Any], before: bool, partition: str
) -> None:
    start(surgery_then_quantization, tmp_path, settings, before, partition)
