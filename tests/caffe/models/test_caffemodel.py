from pathlib import Path

import h5py
import numpy as np
import pytest

from demitasse.caffe import schema
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.net import Net
from demitasse.caffe.schema import dialects
from demitasse.caffe.text import prototxt
from demitasse.caffe.weights import save_weights
from demitasse.errors import FileFormatError

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { name: "w" }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "twin" type: "InnerProduct" bottom: "ip" top: "out" param { name: "w" }
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


def build() -> Net:
    return Net(prototxt.parse(NET, schema.NetParameter(), "net"))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_weights(build(), path)
    whole = path.read_bytes()
    layers = {field.end for field in dialects.fields(whole, 0, len(whole))}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in layers:  # a cut between two layers is a shorter model
            read_model(path)
            continue
        with pytest.raises(FileFormatError, match=r"model: (byte|the file is empty|blob)"):
            read_model(path)


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        read_model(path)
    path.write_text("layer { }")
    with pytest.raises(FileFormatError, match="byte"):
        read_model(path)
    with h5py.File(path, "w") as file:
        file["weights"] = 1
    with pytest.raises(FileFormatError, match="there is no group 'data'"):
        read_model(path)


def test_dialects_share_numbers_and_are_told_apart_by_type() -> None:
    dns = schema.NetParameter()
    dns.layer.add(type="DNSConvolution").dns_convolution_param.c_rate = 2
    dns.layer.add(type="DNSInnerProduct").dns_inner_product_param.c_rate = 3
    written = dialects.to_file_numbers(dns.SerializeToString())
    numbers = [
        field.number
        for layer in dialects.fields(written, 0, len(written))
        for field in dialects.fields(written, layer.start, layer.end)
        if field.number > 100
    ]
    assert numbers == [147, 148]
    assert schema.NetParameter.FromString(dialects.to_private_numbers(written)) == dns


def test_guos_inner_product_has_its_fields_the_other_way_round() -> None:
    # number 141 with iter_stop (3) = 8000 and c_rate (4) = 4 in Guo's layout
    inner = b"\x1d" + np.float32(8000).tobytes() + b"\x25" + np.float32(4).tobytes()
    layer = b"\x12\x0dCInnerProduct" + b"\xea\x08" + bytes([len(inner)]) + inner
    raw = b"\xa2\x06" + bytes([len(layer)]) + layer
    read = schema.NetParameter.FromString(dialects.to_private_numbers(raw)).layer[0]
    assert (read.cinner_product_param.iter_stop, read.cinner_product_param.c_rate) == (8000, 4)


def test_reads_what_caffe_wrote(shared: Path) -> None:
    model = read_model(shared / "models/caffe_lenet5_sparse.caffemodel")
    kept = sum(int(np.count_nonzero(blob)) for layer in model for blob in layer.blobs)
    assert kept == 3993
