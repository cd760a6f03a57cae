"""Deconvolution is the transpose of Convolution: <conv(x), y> = <x, deconv(y)>, whatever the settings."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests.golden.single import single_layer

SETTINGS = [
    ("kernel_size: 3", (7, 6)),
    ("kernel_size: 3 stride: 2 pad: 1", (7, 5)),
    ("kernel_h: 2 kernel_w: 3 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0 group: 2", (6, 5)),
    ("kernel_size: 3 dilation: 2 group: 2", (8, 7)),
    ("kernel_size: 2 stride: 3", (8,)),
    ("kernel_size: 2 kernel_size: 3 kernel_size: 1 pad: 1 pad: 0 pad: 0", (4, 5, 3)),
    ("kernel_size: 2 stride: 2 pad: 1 dilation: 2 group: 2", (5, 3, 3, 5)),
    ("", ()),
]


@pytest.mark.parametrize(("settings", "space"), SETTINGS)
def test_it_is_the_transpose(settings, space):
    torch.manual_seed(0)
    x = torch.randn(2, 4, *space, dtype=torch.float64)
    filler = f'{settings} bias_term: false weight_filler {{ type: "gaussian" }}'
    forward = single_layer("Convolution", f"convolution_param {{ num_output: 6 {filler} }}", x.shape).double()
    top = forward(x)
    y = torch.randn_like(top)
    back = single_layer("Deconvolution", f"convolution_param {{ num_output: 4 {filler} }}", top.shape).double()
    assert back.weight.shape == forward.weight.shape
    back.weight.data.copy_(forward.weight)
    assert back(y).shape == x.shape
    torch.testing.assert_close((top * y).sum(), (x * back(y)).sum())


def test_batch_axes_before_the_channels():
    torch.manual_seed(0)
    settings = 'num_output: 2 kernel_size: 3 stride: 2 weight_filler { type: "gaussian" } bias_filler { value: 1 }'
    layer = single_layer("Deconvolution", f"convolution_param {{ {settings} axis: -2 }}", (2, 3, 4, 5))
    bottom = torch.randn(2, 3, 4, 5)
    expected = F.conv_transpose1d(bottom.flatten(0, 1), layer.weight, layer.bias, 2)
    torch.testing.assert_close(layer(bottom), expected.reshape(2, 3, *expected.shape[1:]))


def test_several_bottoms_share_the_weights():
    settings = 'num_output: 2 kernel_size: 2 weight_filler { type: "gaussian" }'
    layer = single_layer("Deconvolution", f"convolution_param {{ {settings} }}", (1, 3, 4, 4), (2, 3, 4, 4), tops=2)
    bottoms = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for top, bottom in zip(layer(*bottoms), bottoms, strict=True):
        torch.testing.assert_close(top, F.conv_transpose2d(bottom, layer.weight, layer.bias))


def test_a_bilinear_filler_enlarges_a_plane_by_its_stride():
    settings = 'num_output: 1 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" }'
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    top = single_layer("Deconvolution", f"convolution_param {{ {settings} }}", ramp.shape)(ramp)
    # away from the edges, values half way between the old ones
    torch.testing.assert_close(top[0, 0, 5, 1:-1], torch.arange(0.25, 5, 0.5))
