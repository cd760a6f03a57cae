"""Convolution beyond the recorded cases: spellings, and numbers of axes that torch does not have."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.golden.single import single_layer

IMAGE = (2, 4, 9, 8)


def convolution(settings: str, *shapes: tuple[int, ...], tops: int = 1):
    torch.manual_seed(0)
    filler = 'weight_filler { type: "gaussian" } bias_filler { type: "gaussian" }'
    return single_layer("Convolution", f"convolution_param {{ num_output: 6 {filler} {settings} }}", *shapes, tops=tops)


@pytest.mark.parametrize(
    ("spelling", "plain"),
    [
        ("kernel_size: 3 kernel_size: 2", "kernel_h: 3 kernel_w: 2"),
        ("kernel_size: 3 stride: 2 stride: 1", "kernel_size: 3 stride_h: 2 stride_w: 1"),
        ("kernel_size: 3 pad: 1 pad: 1", "kernel_size: 3 pad: 1"),
        ("kernel_size: 3 pad: 0 pad: 2", "kernel_size: 3 pad_w: 2"),
        ("kernel_size: 3 dilation: 2", "kernel_size: 3 dilation: 2 dilation: 2"),
        ("kernel_size: 3 axis: -3", "kernel_size: 3 force_nd_im2col: true"),
    ],
)
def test_spellings_mean_the_same(spelling, plain):
    bottom = torch.randn(IMAGE)
    assert torch.equal(convolution(spelling, IMAGE)(bottom), convolution(plain, IMAGE)(bottom))


def test_four_spatial_axes():
    layer = convolution("kernel_size: 2 stride: 2 pad: 1 dilation: 2 group: 2", (2, 4, 5, 4, 6, 5))
    bottom = torch.randn(2, 4, 5, 4, 6, 5)
    # an axis taken apart by hand: kernel positions 0 and 1 read entries 2i - 1 and 2i + 1
    planes = F.pad(bottom, (0, 0) * 3 + (1, 1))
    bias = layer.bias.reshape(-1, 1, 1, 1)
    for index, plane in enumerate(layer(bottom).unbind(2)):
        expected = sum(
            F.conv3d(planes[:, :, 2 * index + 2 * k], layer.weight[:, :, k], None, 2, 1, 2, 2) for k in (0, 1)
        )
        torch.testing.assert_close(plane, expected + bias)


def test_no_spatial_axis_is_a_product():
    layer = convolution("", (5, 4))
    bottom = torch.randn(5, 4)
    torch.testing.assert_close(layer(bottom), F.linear(bottom, layer.weight, layer.bias))


def test_two_bottoms_share_the_weights():
    layer = convolution("kernel_size: 3", IMAGE, (3, 4, 9, 8), tops=2)
    assert layer.blob_names == ["weight", "bias"]
    bottoms = torch.randn(IMAGE), torch.randn(3, 4, 9, 8)
    for bottom, top in zip(bottoms, layer(*bottoms), strict=True):
        torch.testing.assert_close(top, F.conv2d(bottom, layer.weight, layer.bias))
