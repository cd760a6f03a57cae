"""Conversions of nets whose data is not there: the same models as where it is."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from demitasse import formats
from demitasse.caffe import schema
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools import compact_file
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.inq_to_normal import inq_to_normal
from demitasse.caffe.tools.model2inq_raw import model2inq_raw
from demitasse.caffe.tools.upgrade_proto import upgrade_net_text
from demitasse.caffe.weights import save_weights
from demitasse.errors import DataError, NetError, WeightsError
from demitasse.export import of_files
from demitasse.pycaffe.draw import draw_net

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } } }'
MISSING = {
    "Data": 'data_param { source: "nowhere" batch_size: 2 backend: LMDB } transform_param { crop_size: 9 }',
    "HDF5Data": 'hdf5_data_param { source: "nowhere.txt" batch_size: 2 }',
    "ImageData": 'image_data_param { source: "nowhere.txt" batch_size: 2 } transform_param { mean_file: "nowhere" }',
    "Python": "python_param { module: 'nowhere' layer: 'Data' }",
    "WindowData": 'window_data_param { source: "nowhere.txt" batch_size: 2 } transform_param { crop_size: 9 }',
}
NET = """
layer {{ name: "conv" type: "{0}Convolution" bottom: "data" top: "conv" convolution_param {{ num_output: 4
  kernel_size: 3 weight_filler {{ type: "gaussian" }} }} {1} }}
layer {{ name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }}
layer {{ name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param {{ bias_term: true }} }}
layer {{ name: "relu" type: "PReLU" bottom: "conv" top: "conv" }}
layer {{ name: "up" type: "Deconvolution" bottom: "conv" top: "up" convolution_param {{ num_output: 2 kernel_size: 2
  weight_filler {{ type: "gaussian" }} }} }}
layer {{ name: "ip" type: "{0}InnerProduct" bottom: "up" top: "ip" inner_product_param {{ num_output: 5
  weight_filler {{ type: "gaussian" }} }} {1} }}
layer {{ name: "ip" type: "{0}InnerProduct" bottom: "ip" top: "end" inner_product_param {{ num_output: 3 transpose: true
  bias_term: false weight_filler {{ type: "gaussian" }} }} {1} }}
"""
PORTIONS = "inq_convolution_param { portion: 0.5 } inq_inner_product_param { portion: 0.5 }"


def data(kind: str) -> str:
    return f'layer {{ name: "data" type: "{kind}" top: "data" {MISSING[kind]} }}' if kind else INPUT


def write(name: str, kind: str = "", method: str = "") -> str:
    Path(name).write_text(data(kind) + NET.format(method, PORTIONS if method == "INQ" else ""))
    return name


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(name: str, method: str = "") -> str:
    """Writes a model of a net with masks that cut something."""
    net = Net.from_file(write(f"{name}.there", method=method))
    for layer in net.named_layers().values():
        for blob in (b for b in layer.blob_names if b.endswith("_mask")):
            getattr(layer, blob).view(-1)[::3] = False
    save_weights(net, f"{name}.caffemodel")
    return f"{name}.caffemodel"


def same(one: str, other: str) -> None:
    mine, theirs = read_model(one), read_model(other)
    assert [layer.name for layer in mine] == [layer.name for layer in theirs]
    assert [layer.type for layer in mine][1:] == [layer.type for layer in theirs][1:]
    for left, right in zip(mine, theirs, strict=True):
        assert len(left.blobs) == len(right.blobs)
        for a, b in zip(left.blobs, right.blobs, strict=True):
            np.testing.assert_array_equal(a, b)


CONVERSIONS = [(dns_to_normal, "DNS", ""), (inq_to_normal, "INQ", ""), (model2inq_raw, "DNS", "INQ")]


@pytest.mark.parametrize(("convert", "method", "wanted"), CONVERSIONS)
@pytest.mark.parametrize("kind", MISSING)
def test_a_conversion_needs_no_data(convert, method: str, wanted: str, kind: str) -> None:
    model = made("source", method)
    convert(write("a", method=method), model, write("b", method=wanted), "expected")
    convert(write("c", kind, method), model, write("d", kind, wanted), "found")
    same("found", "expected")
    assert len(read_model("found")[-1].blobs) == (2 if wanted else 1)


def test_what_only_the_data_tells_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "demitasse.caffe")
    model, target = made("source", "DNS"), Path(write("d", "Data"))
    more = 'layer { name: "new" type: "InnerProduct" bottom: "end" top: "new" inner_product_param { num_output: 2 } }'
    target.write_text(target.read_text() + more)
    dns_to_normal(write("c", "Data", "DNS"), model, target, "found")
    assert "layers that are left out, because their shapes depend on the data: new" in caplog.text
    assert "new" not in [layer.name for layer in read_model("found")]


def test_blobs_are_held_against_the_definition() -> None:
    model, target = made("source", "DNS"), Path(write("d", "Data"))
    source, text = write("c", "Data", "DNS"), target.read_text()
    target.write_text(text.replace("num_output: 5", "num_output: 6"))
    with pytest.raises(WeightsError, match=r"for d: blob 0 \(weight\) of layer 'ip' has shape .* but the net's has"):
        dns_to_normal(source, model, target, "found")
    target.write_text(text.replace('"conv" type', '"other" type'))
    with pytest.raises(NetError, match="no layer 'conv'"):
        dns_to_normal(source, model, target, "found")


def test_encoding_packing_upgrading_and_drawing_need_no_data() -> None:
    net = prototxt.read_net(write("net", "Data", "DNS"))
    model = made("source", "DNS")
    compact_file.encode("sparse", "net", model, "out.compact")
    formats.pack(model, "out.demi", net="net", definition=True)
    formats.unpack("out.demi", "again.caffemodel")
    dns_to_normal("net", model, write("plain_net", "Data"), "plain")
    same("again.caffemodel", "plain")
    upgrade_net_text("net", "upgraded")
    assert draw_net(net, ext="svg", phase=schema.TEST)


def test_export_takes_the_shape_from_the_crop_and_the_weights() -> None:
    model = made("source")
    found = of_files(write("net", "Data"), model)
    assert found.inputs == {"data": (2, 3, 9, 9)}


def test_what_needs_the_data_says_so() -> None:
    model = made("source")
    with pytest.raises(DataError, match=r"nowhere.*give the shape of 'data' \(input_shapes='data=N,\.\.\.'\)"):
        of_files(write("net", "HDF5Data"), model)
    with pytest.raises(DataError, match=r"nowhere.*they depend on the data: give a deploy prototxt"):
        compact_file.decode("4/4", "net", "x", "y")
