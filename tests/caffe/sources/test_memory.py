"""MemoryData reads the caller's arrays; DummyData its fillers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from demitasse.caffe import schema
from demitasse.caffe.sources.dummy import DummyData
from demitasse.caffe.sources.memory import MemoryData
from demitasse.caffe.text import prototxt
from demitasse.errors import DataError, NetError


def layer(kind: str, settings: str, tops: int):
    names = " ".join(f'top: "t{i}"' for i in range(tops))
    text = f'layer {{ name: "d" type: "{kind}" {names} {settings} }}'
    return prototxt.parse(text, schema.NetParameter(), "net").layer[0]


def memory(batch: int = 4, tops: int = 2) -> MemoryData:
    settings = f"memory_data_param {{ batch_size: {batch} channels: 1 height: 2 width: 3 }}"
    return MemoryData(layer("MemoryData", settings, tops), schema.TRAIN)


def rows(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float64)[:, None, None, None] * np.ones((1, 1, 2, 3))


def test_arrays_are_read_in_order_and_wrap_round() -> None:
    data = memory()
    data.set_arrays(rows(6), np.arange(6))
    assert data.shapes == [(4, 1, 2, 3), (4, 1, 1, 1)]
    for expected in ([0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]):
        images, labels = data.next_batch()
        assert labels.shape == (4, 1, 1, 1)
        assert labels.ravel().tolist() == expected
        np.testing.assert_array_equal(images.numpy(), rows(6)[expected])


def test_new_arrays_start_at_their_beginning() -> None:
    data = memory()
    data.set_arrays(rows(6), np.arange(6))
    data.next_batch()
    data.set_arrays(rows(4), np.arange(10, 14))
    assert data.next_batch()[1].ravel().tolist() == [10, 11, 12, 13]


def test_one_top_is_the_data() -> None:
    data = memory(tops=1)
    data.set_arrays(rows(4), np.arange(4))
    assert len(data.next_batch()) == len(data.shapes) == 1


def test_a_resumed_run_reads_on() -> None:
    data, resumed = memory(), memory()
    for source in (data, resumed):
        source.set_arrays(rows(7), np.arange(7))
    data.next_batch()
    resumed.restore(json.loads(json.dumps(data.state())))
    assert torch.equal(resumed.next_batch()[1], data.next_batch()[1])


def test_reading_before_arrays_are_set() -> None:
    with pytest.raises(DataError, match="call set_arrays"):
        memory().next_batch()


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (np.ones((4, 1, 3, 2)), np.ones(4), r"the data has shape \[4, 1, 3, 2\]; expected \[n, 1, 2, 3\]"),
        (np.ones((0, 1, 2, 3)), np.ones(0), r"the data has shape \[0, 1, 2, 3\]"),
        (rows(4), np.ones(5), r"the labels have shape \[5\]; expected one for each of 4 rows"),
        (rows(4), np.ones((2, 2)), r"the labels have shape \[2, 2\]"),
        (rows(4), np.array(1.0), r"the labels have shape \[\]"),
    ],
)
def test_arrays_that_do_not_fit(data: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        memory().set_arrays(data, labels)


def test_a_memory_layer_without_a_shape() -> None:
    with pytest.raises(NetError, match="above 0"):
        MemoryData(layer("MemoryData", "memory_data_param { batch_size: 4 }", 2), schema.TRAIN)


def dummy(settings: str, tops: int = 2) -> DummyData:
    return DummyData(layer("DummyData", f"dummy_data_param {{ {settings} }}", tops), schema.TRAIN)


def test_constants_stay_and_others_are_filled_anew() -> None:
    source = dummy(
        "shape { dim: 3 } shape { dim: 2 dim: 50 } "
        'data_filler { type: "constant" value: 7 } data_filler { type: "gaussian" std: 2 }'
    )
    assert source.shapes == [(3,), (2, 50)]
    torch.manual_seed(0)
    first, second = source.next_batch(), source.next_batch()
    assert torch.equal(first[0], torch.full((3,), 7.0))
    first[0].zero_()
    assert torch.equal(source.next_batch()[0], torch.full((3,), 7.0))
    assert not torch.equal(first[1], second[1])
    torch.manual_seed(0)
    assert torch.equal(source.next_batch()[1], first[1])


def test_without_a_filler_the_tops_are_zero() -> None:
    assert [top.tolist() for top in dummy("shape { dim: 2 }").next_batch()] == [[0, 0], [0, 0]]


def test_the_old_spelling_has_one_value_or_one_a_top() -> None:
    source = dummy("num: 2 num: 5 channels: 3 height: 1 height: 4 width: 1")
    assert source.shapes == [(2, 3, 1, 1), (5, 3, 4, 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "is given 0 times"),
        ("shape { dim: 1 } shape { dim: 1 } shape { dim: 1 }", "shape is given 3 times for 2 tops; expected once"),
        ("shape { dim: 1 } num: 1", "both shape and num"),
        ("num: 1 channels: 2 height: 3", "width is given 0 times"),
        ("shape { dim: 1 } " + "data_filler { } " * 3, "data_filler is given 3 times"),
    ],
)
def test_dummy_settings_that_do_not_fit(settings: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        dummy(settings)
