from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from demitasse.pycaffe import coord_map
from demitasse.pycaffe.coord_map import coord_map_from_to, crop
from demitasse.pycaffe.net_spec import NetSpec
from demitasse.pycaffe.net_spec import layers as L
from demitasse.pycaffe.net_spec import params as P


def down_and_up(ks: Any = 3, stride: Any = 1, pad: Any = 0, pool: int = 2, up: int = 2, dpad: int = 0) -> NetSpec:
    n = NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, 40, 40]})
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=ks, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool)
    settings = {"num_output": 2, "kernel_size": 2 * up, "stride": up, "pad": dpad, "bias_term": False}
    n.deconv = L.Deconvolution(n.pool, convolution_param=settings)
    return n


@pytest.mark.parametrize(("pool", "offset"), [(2, 0), (4, -1)])
def test_down_and_up(pool: int, offset: float) -> None:
    n = down_and_up(pool=pool, up=pool)
    assert coord_map_from_to(n.deconv, n.data) == (1, 1, offset)
    axis, scale, back = coord_map_from_to(n.data, n.deconv)
    assert (axis, scale, back) == (1, 1, -offset)


def test_padding_shifts() -> None:
    for pad, dpad in ((3, 0), (0, 3), (3, 3)):
        n = down_and_up(pad=pad, dpad=dpad)
        assert coord_map_from_to(n.deconv, n.data)[2] == dpad - pad


def test_axes_of_their_own() -> None:
    n = down_and_up(ks=[3, 5], stride=[1, 2], pad=[0, 10])
    _, scale, offset = coord_map_from_to(n.deconv, n.data)
    for index, (ks, stride, pad) in enumerate(((3, 1, 0), (5, 2, 10))):
        alone = down_and_up(ks=ks, stride=stride, pad=pad)
        assert (scale[index], offset[index]) == coord_map_from_to(alone.deconv, alone.data)[1:]


@pytest.mark.parametrize("layer", ["ReLU", "Dropout", "BatchNorm", "LRN", "Scale"])
def test_layers_that_keep_places(layer: str) -> None:
    n = down_and_up()
    top = L.Convolution(getattr(L, layer)(n.deconv), num_output=1, kernel_size=1)
    assert coord_map_from_to(top, n.data) == coord_map_from_to(n.deconv, n.data)


def test_several_tops() -> None:
    n = down_and_up()
    n.other = L.Input(shape={"dim": [1, 1, 9, 9]})
    first, second = L.Convolution(n.data, n.other, ntop=2, num_output=1, kernel_size=5, stride=2)
    assert coord_map_from_to(first, n.data) == coord_map_from_to(second, n.other) == (1, 2, 2)


def test_a_crop_of_a_crop() -> None:
    n = down_and_up(pool=4, up=4)
    n.crop = L.Crop(n.deconv, n.data, axis=2, offset=3)
    axis, scale, offset = coord_map_from_to(n.deconv, n.data)
    assert coord_map_from_to(n.crop, n.data) == (axis, scale, offset + 3)


def test_dilation() -> None:
    n = down_and_up()
    n.wide = L.Convolution(n.data, num_output=1, kernel_size=3, dilation=4)
    assert coord_map_from_to(n.wide, n.data)[2] == 4


def test_the_crop_fits() -> None:
    """What stands at a place of the input stands there in the output, too: the same net, computed by torch."""
    n = down_and_up(ks=1, pool=4, up=4, pad=6)
    cropped = crop(n.deconv, n.data)
    settings = cropped.fn.params["crop_param"]
    assert settings == {"axis": 2, "offset": [8]}
    data = torch.zeros(1, 1, 40, 40)
    data[0, 0, 18:22, 10:14] = 1
    pooled = functional.max_pool2d(functional.pad(data, [6] * 4), 4)
    score = functional.conv_transpose2d(pooled, torch.ones(1, 1, 8, 8), stride=4)
    found = score[0, 0, 8:48, 8:48]
    assert found.shape == (40, 40)
    rows, columns = np.nonzero(found.numpy() > 0)
    assert (rows.mean(), columns.mean()) == (19.5, 11.5)


@pytest.mark.parametrize(
    ("settings", "match"),
    [({"pool": 3}, "scale mismatch"), ({"dpad": 10}, "negative offset"), ({"ks": 4, "pool": 4, "up": 4}, "noninteger")],
)
def test_impossible_crops(settings, match: str) -> None:
    n = down_and_up(**settings)
    with pytest.raises(AssertionError, match=match):
        crop(n.deconv, n.data)


def test_tops_that_nothing_connects() -> None:
    n = down_and_up()
    n.ip = L.InnerProduct(n.deconv, num_output=3)
    with pytest.raises(RuntimeError, match="InnerProduct and Input are not connected"):
        coord_map_from_to(n.ip, n.data)
    with pytest.raises(RuntimeError, match="not connected"):
        coord_map_from_to(L.Pooling(n.data, global_pooling=True), n.data)


def test_maps_without_meaning() -> None:
    n = down_and_up()
    with pytest.raises(coord_map.UndefinedMapException, match="'InnerProduct' has no map"):
        coord_map.coord_map(L.InnerProduct(n.data, num_output=3).fn)
    with pytest.raises(coord_map.AxisMismatchException, match="the axes after 1 cannot follow"):
        coord_map.compose((1, 1, 0), (2, 1, 0))
    with pytest.raises(AssertionError, match="kernel_h, kernel_w"):
        coord_map.conv_params(L.Convolution(n.data, kernel_h=3, kernel_w=3).fn)


def test_inverse() -> None:
    assert coord_map.compose((1, 2, 3), coord_map.inverse((1, 2, 3))) == (1, 1, 0)
    assert coord_map.crop_params(L.Crop(offset=[1, 2]).fn)[1].tolist() == [1, 2]
