"""Fillers have the distributions of Caffe's, whose draws were recorded as statistics."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.fillers import FILLERS, fill
from demitasse.caffe.text import prototxt
from demitasse.errors import NetError, UnknownNameError

RANDOM = ("uniform", "gaussian", "positive_unitball", "xavier", "msra")


def filler(text: str) -> schema.Message:
    return prototxt.parse(text, schema.FillerParameter(), "filler")


def statistics(values: np.ndarray) -> dict[str, float]:
    rows = values.reshape(len(values), -1).sum(1)
    return {
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "nonzero_fraction": np.count_nonzero(values) / values.size,
        "row_sum_min": rows.min(),
        "row_sum_max": rows.max(),
    }


def test_recorded_statistics(shared):
    torch.manual_seed(0)
    records = json.loads((shared / "golden/layers/fillers/fillers.json").read_text())
    assert len(records) == 20
    for record in records:
        settings = record["filler"].removeprefix("weight_filler {").removesuffix("}")
        found = statistics(fill(filler(settings), tuple(record["shape"])).numpy().astype(np.float64))
        spread = found["std"]
        assert found["mean"] == pytest.approx(record["mean"], abs=0.02 * spread), record
        assert found["std"] == pytest.approx(record["std"], rel=0.02), record
        assert found["nonzero_fraction"] == pytest.approx(record["nonzero_fraction"], abs=0.01), record
        # of bell curves the tails differ from draw to draw, of the others the ends are sharp
        loose = 1.5 * spread if "gaussian" in settings or "msra" in settings else 0.2 * spread
        for end in ("min", "max"):
            assert found[end] == pytest.approx(record[end], abs=loose), record
        if "unitball" in settings:
            assert found["row_sum_min"] == pytest.approx(1, abs=1e-5)
            assert found["row_sum_max"] == pytest.approx(1, abs=1e-5)


def test_constant_is_the_default():
    assert torch.equal(fill(schema.FillerParameter(), (2, 3)), torch.zeros(2, 3))
    assert torch.equal(fill(filler("value: 0.25"), (2, 3)), torch.full((2, 3), 0.25))


@pytest.mark.parametrize(
    ("size", "line"),
    [(1, [1.0]), (2, [0.5, 0.5]), (3, [0.5, 1.0, 0.5]), (4, [0.25, 0.75, 0.75, 0.25])],
)
def test_bilinear_is_a_symmetric_tent(size, line):
    values = fill(filler('type: "bilinear"'), (2, 1, size, size))
    expected = torch.tensor(line)
    torch.testing.assert_close(values[1, 0], expected[:, None] * expected)


def test_bilinear_as_recorded(shared):
    recorded = np.load(shared / "golden/layers/deconv_bilinear/data.npz")["param/l/0"]
    np.testing.assert_allclose(fill(filler('type: "bilinear"'), recorded.shape).numpy(), recorded, rtol=1e-6)


@pytest.mark.parametrize("kind", RANDOM)
def test_the_seed_decides(kind):
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(fill(filler(f'type: "{kind}"'), (5, 4)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("kind", sorted(FILLERS))
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 5, 5)])
def test_every_filler_fills_float32_or_says_why_not(kind, shape):
    if kind == "bilinear" and len(shape) != 4:
        with pytest.raises(NetError, match="bilinear filler needs four axes"):
            fill(filler(f'type: "{kind}"'), shape)
        return
    values = fill(filler(f'type: "{kind}"'), shape)
    assert values.shape == shape
    assert values.dtype == torch.float32
    assert values.isfinite().all()


def test_unknown_filler_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match=r"unknown filler type 'xaviar'; did you mean 'xavier'\?"):
        fill(filler('type: "xaviar"'), (2, 2))
