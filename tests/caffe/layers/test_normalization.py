"""LRN and BatchNorm against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from demitasse.caffe import schema
from demitasse.errors import NetError
from tests.golden.single import single_layer

SHAPE = (3, 6, 5, 4)


@pytest.mark.parametrize("size", [1, 3, 5, 11, 13])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_lrn_across_channels(size, beta, layout):
    layer = single_layer("LRN", f"lrn_param {{ local_size: {size} alpha: 0.7 beta: {beta} k: 1.5 }}", SHAPE)
    bottom = torch.randn(SHAPE).contiguous(memory_format=layout).requires_grad_()
    weights = torch.randn(SHAPE)
    results = []
    for top in (layer(bottom), F.local_response_norm(bottom, size, 0.7, beta, 1.5)):
        (gradient,) = torch.autograd.grad((top * weights).sum(), bottom)
        results.append((top, gradient))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert results[0][0].is_contiguous(memory_format=layout)


def test_batch_norm_uses_its_blobs_when_told_to():
    layer = single_layer("BatchNorm", "batch_norm_param { use_global_stats: true }", SHAPE)
    layer.mean.fill_(4)
    layer.variance.fill_(8)
    layer.factor.fill_(2)
    bottom = torch.randn(SHAPE)
    torch.testing.assert_close(layer(bottom), (bottom - 2) / (4 + 1e-5) ** 0.5)
    assert layer.factor.item() == 2


def test_batch_norm_converges_on_the_statistics_of_its_batches():
    layer = single_layer("BatchNorm", "batch_norm_param { moving_average_fraction: 0.5 }", SHAPE)
    bottom = 3 * torch.randn(SHAPE) + 1
    for _ in range(20):
        layer(bottom)
    by_channel = bottom.transpose(0, 1).flatten(1)
    torch.testing.assert_close(layer.mean / layer.factor, by_channel.mean(1))
    torch.testing.assert_close(layer.variance / layer.factor, by_channel.var(1))


def test_batch_norm_without_statistics_takes_zero_for_both():
    layer = single_layer("BatchNorm", "", SHAPE, phase=schema.TEST)
    bottom = torch.randn(SHAPE)
    torch.testing.assert_close(layer(bottom), bottom / 1e-5**0.5)


def test_batch_norm_of_one_value_a_channel_cannot_train():
    with pytest.raises(
        NetError, match=r"layer 'l' .*more than one value per channel for training, found .* \[1, 6, 1, 1\]"
    ):
        single_layer("BatchNorm", "", (1, 6, 1, 1))
    single_layer("BatchNorm", "", (1, 6, 1, 1), phase=schema.TEST)
