from pathlib import Path

import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.errors import WeightsError

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { name: "w" }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "twin" type: "InnerProduct" bottom: "ip" top: "out" param { name: "w" }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


def build(text: str = NET) -> Net:
    return Net(prototxt.parse(text, schema.NetParameter(), "net"))


@pytest.mark.parametrize("hdf5", [False, True])
def test_round_trip(tmp_path: Path, hdf5: bool) -> None:
    path = tmp_path / "model"
    net, other = build(), build()
    save_weights(net, path, hdf5)
    assert set(load_weights(other, path)) >= {"ip"}
    for mine, read in zip(net.learnable, other.learnable, strict=True):
        np.testing.assert_array_equal(mine.tensor.detach(), read.tensor.detach())


def test_hdf5_holds_shared_blobs_under_their_owner(tmp_path: Path) -> None:
    save_weights(build(), tmp_path / "model", hdf5=True)
    with h5py.File(tmp_path / "model") as file:
        assert {name: sorted(group) for name, group in file["data"].items()} == {
            "data": [],
            "ip": ["0", "1"],
            "twin": ["1"],
        }


def test_another_nets_weights_name_the_blob_and_both_shapes(tmp_path: Path) -> None:
    save_weights(build(), tmp_path / "model")
    other = build(NET.replace("dim: 2 dim: 5", "dim: 2 dim: 6").replace('param { name: "w" }', ""))
    message = r"blob 0 \(weight\) of layer 'ip' has shape \[5, 5\], but the net's has \[5, 6\]"
    with pytest.raises(WeightsError, match=message):
        load_weights(other, tmp_path / "model")


def test_a_model_that_shares_no_layer_changes_nothing_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_weights(build(), tmp_path / "model")
    net = build(NET.replace('"ip" type', '"x" type').replace('"twin"', '"y"'))
    before = [blob.tensor.detach().clone() for blob in net.learnable]
    assert load_weights(net, tmp_path / "model") == []
    assert "no layer of this file is in the net, so the net keeps its weights; the file has 'ip', 'twin'" in caplog.text
    assert all(map(np.array_equal, (blob.tensor.detach() for blob in net.learnable), before))
