"""Losses, Accuracy, ArgMax and Dropout beyond the recorded cases."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from demitasse.caffe import schema
from tests.golden.single import single_layer, single_net


def test_the_second_top_of_softmax_with_loss_is_the_softmax():
    layer = single_layer("SoftmaxWithLoss", "", (4, 3, 5), (4, 5), tops=2)
    scores = torch.randn(4, 3, 5, requires_grad=True)
    labels = torch.randint(3, (4, 5)).float()
    loss, probability = layer(scores, labels)
    torch.testing.assert_close(loss, F.cross_entropy(scores, labels.long()))
    torch.testing.assert_close(probability, F.softmax(scores.detach(), 1))
    assert not probability.requires_grad


def test_only_the_first_top_of_a_loss_counts():
    net = single_net("SoftmaxWithLoss", "", (4, 3), (4,), tops=2)
    assert net.losses == {"t0": 1.0}
    assert net.outputs == ["t0", "t1"]


@pytest.mark.parametrize(("label", "share"), [(0.0, 0.5), (1.0, 0.5), (2.0, 0.0)])
def test_accuracy_takes_a_tie_for_a_miss(label, share):
    layer = single_layer("Accuracy", "", (2, 3), (2,), phase=schema.TEST)
    scores = torch.tensor([[1.0, 1.0, 0.0], [2.0 * (label == 0), 2.0 * (label == 1), 3.0 * (label == 2) - 4]])
    assert layer(scores, torch.full((2,), label)).item() == share


def test_scores_that_are_no_numbers_are_misses():
    layer = single_layer("Accuracy", "", (2, 3), (2,), phase=schema.TEST)
    assert layer(torch.full((2, 3), torch.nan), torch.zeros(2)).item() == 0


def test_argmax_of_equal_scores_is_the_last():
    layer = single_layer("ArgMax", "argmax_param { top_k: 3 }", (1, 4), phase=schema.TEST)
    assert layer(torch.tensor([[1.0, 2.0, 2.0, 1.0]])).flatten().tolist() == [2, 1, 3]


def test_dropout_keeps_the_mean_and_rests_in_testing():
    settings = "dropout_param { dropout_ratio: 0.3 }"
    bottom = torch.ones(100, 1000)
    torch.manual_seed(0)
    top = single_layer("Dropout", settings, bottom.shape)(bottom)
    assert (top == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(top[top > 0].unique(), torch.tensor([1 / 0.7]))
    assert torch.equal(single_layer("Dropout", settings, bottom.shape, phase=schema.TEST)(bottom), bottom)


def test_the_maximum_gives_the_gradient_of_a_tie_to_one_bottom():
    bottoms = [torch.ones(2, 3, requires_grad=True) for _ in range(3)]
    single_layer("Eltwise", "eltwise_param { operation: MAX }", *[(2, 3)] * 3)(*bottoms).sum().backward()
    assert [bottom.grad.sum().item() for bottom in bottoms] in ([0, 6, 0], [6, 0, 0], [0, 0, 6])
