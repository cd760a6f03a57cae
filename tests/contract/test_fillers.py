"""One suite over every registered filler: what each must do, whatever its distribution."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.fillers import FILLERS, fill
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError

# settings of each filler; and, for those that can be set wrongly, what they cannot fill
SETTINGS = {
    "constant": ["value: 0.5", "value: -2"],
    "uniform": ["min: -1 max: 1"],
    "gaussian": ["std: 1", "mean: 2 std: 0.5 sparse: 2"],
    "positive_unitball": [""],
    "xavier": ["", "variance_norm: FAN_OUT", "variance_norm: AVERAGE"],
    "msra": ["", "variance_norm: FAN_OUT", "variance_norm: AVERAGE"],
    "bilinear": [""],
}
WRONG = {
    "uniform": [("min: 1 max: 0", (2, 2))],
    "gaussian": [("std: -1", (2, 2)), ("std: 1 sparse: 1", ()), ("std: 1 sparse: 1", (0, 2))],
    "xavier": [("", (0, 2)), ("", (2, 0))],
    "msra": [("", (0, 2)), ("", (2, 0))],
    "bilinear": [("", (2, 2)), ("", (1, 1, 2, 3))],
}
NEVER_WRONG = {"constant", "positive_unitball"}
DRAW_NOTHING = {"constant", "bilinear"}
SHAPES = [(2, 3, 4, 4), (6, 1, 3, 3), (1, 1, 1, 1)]
FEWER_AXES = [(), (4,), (3, 5)]

each_setting = pytest.mark.parametrize(
    ("kind", "settings"), [(kind, settings) for kind in FILLERS for settings in SETTINGS.get(kind, [])]
)


def filler(kind: str, settings: str) -> schema.Message:
    return prototxt.parse(f'type: "{kind}" {settings}', schema.FillerParameter(), "filler")


def shapes(kind: str, settings: str) -> list[tuple[int, ...]]:
    return SHAPES + ([] if kind == "bilinear" else [one for one in FEWER_AXES if one or "sparse" not in settings])


def test_every_filler_is_here():
    assert set(SETTINGS) == set(FILLERS), "give the new filler a line in SETTINGS"
    assert set(WRONG) | NEVER_WRONG == set(FILLERS), "say in WRONG what the new filler refuses"


@each_setting
def test_shape_type_and_memory_are_a_blobs(kind, settings):
    for shape in shapes(kind, settings):
        values = fill(filler(kind, settings), shape)
        assert values.shape == shape
        assert values.dtype == torch.float32
        assert values.is_contiguous()
        assert values.untyped_storage().nbytes() == 4 * values.numel()  # expanded or shared memory is no blob's
        assert values.isfinite().all()


@each_setting
def test_the_seed_of_torch_decides_and_nothing_else(kind, settings):
    given = filler(kind, settings)
    before = given.SerializeToString()
    torch.manual_seed(1)
    first = fill(given, (2, 3, 4, 4))
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(1)
    again, other = (fill(given, (2, 3, 4, 4)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(again, other) == (kind in DRAW_NOTHING)
    assert given.SerializeToString() == before


@pytest.mark.parametrize("kind", list(FILLERS))
def test_what_draws_nothing_leaves_the_generator(kind):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    fill(filler(kind, SETTINGS[kind][0]), (2, 3, 4, 4))
    assert torch.equal(torch.get_rng_state(), state) == (kind in DRAW_NOTHING)


@pytest.mark.parametrize(
    ("kind", "settings", "shape"), [(kind, *case) for kind in FILLERS for case in WRONG.get(kind, [])]
)
def test_what_cannot_be_filled_is_an_error_of_the_net(kind, settings, shape):
    with pytest.raises(NetError, match=kind):
        fill(filler(kind, settings), shape)
