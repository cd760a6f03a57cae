"""Pooling against loops over windows placed by Caffe's rules, over a grid of settings."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from demitasse.caffe import schema
from tests.golden.single import single_layer


def windows(length: int, kernel: int, stride: int, pad: int, mode: str) -> list[tuple[int, int, int]]:
    """Returns (first, behind the last, entries counted) of each window along an axis."""
    span = (length + 2 * pad - kernel) / stride
    count = (math.ceil(span) if mode == "CEIL" else math.floor(span)) + 1
    if pad and (count - 1) * stride >= length + pad:
        count -= 1
    found = []
    for index in range(count):
        start = index * stride - pad
        counted = min(start + kernel, length + pad) - start
        found.append((max(start, 0), min(start + kernel, length), counted))
    return found


def has_empty_windows(length: int, *settings: object) -> bool:
    return any(start >= stop for size in (length, length + 1) for start, stop, _ in windows(size, *settings))


GRID = [
    settings
    for settings in itertools.product((5, 6, 7), (1, 2, 3, 4), (1, 2, 3), (0, 1, 2, 3), ("CEIL", "FLOOR"))
    if settings[3] < settings[1] and not has_empty_windows(*settings)
]


@pytest.mark.parametrize(("length", "kernel", "stride", "pad", "mode"), GRID)
def test_windows(length, kernel, stride, pad, mode):
    bottom = torch.randn(2, 2, length, length + 1, generator=torch.Generator().manual_seed(0))
    settings = f"kernel_size: {kernel} stride: {stride} pad: {pad} round_mode: {mode}"
    rows, columns = (windows(size, kernel, stride, pad, mode) for size in bottom.shape[2:])
    largest, places = single_layer("Pooling", f"pooling_param {{ {settings} }}", bottom.shape, tops=2)(bottom)
    mean = single_layer("Pooling", f"pooling_param {{ pool: AVE {settings} }}", bottom.shape)(bottom)
    assert largest.shape == mean.shape == (2, 2, len(rows), len(columns))
    for (i, (top, below, high)), (j, (left, right, wide)) in itertools.product(enumerate(rows), enumerate(columns)):
        window = bottom[:, :, top:below, left:right]
        torch.testing.assert_close(largest[:, :, i, j], window.amax((2, 3)))
        torch.testing.assert_close(mean[:, :, i, j], window.sum((2, 3)) / (high * wide))
    torch.testing.assert_close(bottom.flatten(2).gather(2, places.long().flatten(2)), largest.flatten(2))


def test_a_window_without_entries_has_the_smallest_number():
    # without padding Caffe does not leave it out
    bottom = torch.ones(1, 1, 4, 4)
    layer = single_layer("Pooling", "pooling_param { kernel_size: 1 stride: 2 }", bottom.shape)
    smallest = torch.finfo(torch.float32).min
    assert layer(bottom)[0, 0].tolist() == [[1, 1, smallest], [1, 1, smallest], [smallest] * 3]


def test_stochastic_pooling_samples_in_proportion():
    bottom = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(100, 100, 2, 2)
    layer = single_layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", bottom.shape)
    torch.manual_seed(0)
    drawn = layer(bottom)
    for value in (1, 2, 3, 4):
        assert (drawn == value).float().mean().item() == pytest.approx(value / 10, abs=0.02)


def test_stochastic_pooling_is_a_weighted_mean_in_testing():
    bottom = torch.tensor([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0]])[None, None]
    settings = "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"
    top = single_layer("Pooling", settings, bottom.shape, phase=schema.TEST)(bottom)
    torch.testing.assert_close(top, torch.tensor([[[[3.0, 0.0]]]]))
