from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from demitasse.caffe import schema
from demitasse.caffe.models.caffemodel import read_model
from demitasse.pycaffe.proto import caffe_pb2

DNS_NET = """
layer { name: "conv1" type: "DNSConvolution" dns_convolution_param { c_rate: 2.5 } }
layer { name: "act" type: "Swish" swish_param { beta: 3 } }
layer { name: "ip1" type: "DNSInnerProduct" dns_inner_product_param { gamma: 0.5 } }
"""


def test_every_message_and_enum_is_there() -> None:
    for name, descriptor in schema.NetParameter.DESCRIPTOR.file.message_types_by_name.items():
        found = getattr(caffe_pb2, name)
        assert found.DESCRIPTOR.name == name
        for enum in descriptor.enum_types:
            assert getattr(found, enum.name).keys() == [value.name for value in enum.values]
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.Phase.Name(1) == "TEST"
    assert caffe_pb2.PoolingParameter.AVE == caffe_pb2.PoolingParameter.PoolMethod.Value("AVE") == 1


def test_blobs_hold_repeated_numbers() -> None:
    blob = caffe_pb2.BlobProto()
    blob.data.extend([1.5, -2.0])
    assert np.array(caffe_pb2.BlobProto.FromString(blob.SerializeToString()).data).tolist() == [1.5, -2.0]


def test_numbers_of_the_compression_fork() -> None:
    net = text_format.Merge(DNS_NET, caffe_pb2.NetParameter())
    data = net.SerializeToString()
    # 147 and 148 on the wire, length-delimited: key (147 << 3 | 2) as a varint
    assert b"\x9a\x09\x05\x1d" in data
    for read in (caffe_pb2.NetParameter.FromString, lambda data: _parsed(data, "ParseFromString")):
        found = read(data)
        assert found == net
        assert found.layer[0].dns_convolution_param.c_rate == 2.5
        assert found.layer[1].swish_param.beta == 3
        assert not found.layer[0].HasField("swish_param")
    assert _parsed(data, "MergeFromString") == net
    assert net.SerializePartialToString() == data


def _parsed(data: bytes, method: str):
    net = caffe_pb2.NetParameter()
    getattr(net, method)(data)
    return net


def test_copies() -> None:
    net = text_format.Merge(DNS_NET, caffe_pb2.NetParameter())
    assert copy.deepcopy(net) == net
    assert pickle.loads(pickle.dumps(net)) == net


@pytest.mark.parametrize("data", [b"\xa2\x06\xff", b"\x00", b"\xa2\x06\x02\x12\x7f"])
def test_what_is_no_net(data: bytes) -> None:
    with pytest.raises(DecodeError):
        caffe_pb2.NetParameter.FromString(data)


@pytest.mark.parametrize(
    "name", ["golden/solvers/dns_20k/snap_iter_1.caffemodel", "models/caffe_lenet5_sparse.caffemodel"]
)
def test_real_models(shared: Path, name: str) -> None:
    net = caffe_pb2.NetParameter()
    net.ParseFromString((shared / name).read_bytes())
    expected = {layer.name: layer.blobs for layer in read_model(shared / name) if layer.blobs}
    found = {layer.name: layer for layer in net.layer if layer.blobs}
    assert list(found) == list(expected)
    for key, blobs in expected.items():
        for blob, array in zip(found[key].blobs, blobs, strict=True):
            assert np.array_equal(np.array(blob.data, np.float32), array.ravel())
        if found[key].type.startswith("C"):
            assert found[key].HasField("cconvolution_param") or found[key].HasField("cinner_product_param")
