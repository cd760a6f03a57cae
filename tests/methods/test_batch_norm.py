"""Statistics of batch normalization, measured anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import DataError, MethodError
from tests.methods.playground import batches, net, weights


def test_statistics_are_averages_over_all_batches() -> None:
    model = net().eval()
    data = [images for images, _ in batches(5)]
    before = weights(model)
    assert demitasse.recalibrate_batch_norm(model, data) == 1
    found = model.conv(torch.cat(data)).detach()
    torch.testing.assert_close(model.norm.running_mean, found.mean((0, 2, 3)))
    expected = torch.stack([model.conv(images).detach().var((0, 2, 3)) for images in data]).mean(0)
    torch.testing.assert_close(model.norm.running_var, expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items() if "norm" not in name)
    assert model.norm.momentum == 0.1


@pytest.mark.parametrize("training", [False, True])
def test_modes_come_back(training: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train(training)
    model[1].eval()
    demitasse.recalibrate_batch_norm(model, [torch.randn(4, 3)])
    assert [module.training for module in model] == [training, False, training]


@pytest.mark.parametrize("kind", ["tuple", "mapping", "forward", "compiled"])
def test_kinds_of_batches(kind: str) -> None:
    model = net()
    images = torch.randn(8, 1, 8, 8)
    if kind == "tuple":
        demitasse.recalibrate_batch_norm(model, [(images, torch.zeros(8))])
    elif kind == "mapping":
        demitasse.recalibrate_batch_norm(model, [{"images": images}])
    elif kind == "forward":
        demitasse.recalibrate_batch_norm(model, [7], forward=lambda model, batch: model(images))
    else:
        demitasse.recalibrate_batch_norm(torch.compile(model, backend="eager"), [images])
    torch.testing.assert_close(model.norm.running_mean, model.conv(images).detach().mean((0, 2, 3)))


def test_a_model_without_batch_norm_reads_no_batch() -> None:
    def never():  # type: ignore[no-untyped-def]
        raise AssertionError
        yield

    assert demitasse.recalibrate_batch_norm(nn.Linear(2, 2), never()) == 0
    assert demitasse.recalibrate_batch_norm(nn.BatchNorm1d(2, track_running_stats=False), never()) == 0


def test_old_statistics_come_back_where_something_raises() -> None:
    model = net()
    before = weights(model)
    images = torch.randn(2, 1, 8, 8)
    for wrong, error, words in (
        ([], DataError, "there is no batch"),
        ([images, torch.randn(2, 5, 8, 8)], RuntimeError, "channels"),
        ([images, ()], MethodError, "a batch is an empty tuple"),
        ([images, images / 0], MethodError, "'norm' measured NaN or infinite values"),
    ):
        with pytest.raises(error, match=words):
            demitasse.recalibrate_batch_norm(model, wrong)
        assert all(torch.equal(before[name], tensor) for name, tensor in weights(model).items())
        assert model.norm.momentum == 0.1
        assert model.norm.training
