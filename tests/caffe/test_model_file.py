from pathlib import Path

import h5py
import numpy as np
import pytest

from demitasse.caffe import model_file, prototxt, schema
from demitasse.caffe.net import Net
from demitasse.caffe.schema import dialects
from demitasse.errors import FileFormatError, WeightsError

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
    model_file.save_weights(net, path, hdf5)
    assert set(model_file.load_weights(other, path)) >= {"ip"}
    for mine, read in zip(net.learnable, other.learnable, strict=True):
        np.testing.assert_array_equal(mine.tensor.detach(), read.tensor.detach())


def test_hdf5_holds_shared_blobs_under_their_owner(tmp_path: Path) -> None:
    model_file.save_weights(build(), tmp_path / "model", hdf5=True)
    with h5py.File(tmp_path / "model") as file:
        assert {name: sorted(group) for name, group in file["data"].items()} == {
            "data": [],
            "ip": ["0", "1"],
            "twin": ["1"],
        }


def test_another_nets_weights_name_the_blob_and_both_shapes(tmp_path: Path) -> None:
    model_file.save_weights(build(), tmp_path / "model")
    other = build(NET.replace("dim: 2 dim: 5", "dim: 2 dim: 6").replace('param { name: "w" }', ""))
    message = r"blob 0 \(weight\) of layer 'ip' has shape \[5, 5\], but the net's has \[5, 6\]"
    with pytest.raises(WeightsError, match=message):
        model_file.load_weights(other, tmp_path / "model")


def test_a_model_that_shares_no_layer_changes_nothing_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model_file.save_weights(build(), tmp_path / "model")
    net = build(NET.replace('"ip" type', '"x" type').replace('"twin"', '"y"'))
    before = [blob.tensor.detach().clone() for blob in net.learnable]
    assert model_file.load_weights(net, tmp_path / "model") == []
    assert "no layer of this file is in the net, which keeps its weights; the file has 'ip', 'twin'" in caplog.text
    assert all(map(np.array_equal, (blob.tensor.detach() for blob in net.learnable), before))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model_file.save_weights(build(), path)
    whole = path.read_bytes()
    layers = {field.end for field in dialects.fields(whole, 0, len(whole))}
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in layers:  # a cut between two layers is a shorter model
            model_file.read_model(path)
            continue
        with pytest.raises(FileFormatError, match=r"model: (byte|the file is empty|blob)"):
            model_file.read_model(path)


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(FileFormatError, match="cannot be read: No such file"):
        model_file.read_model(path)
    path.write_text("layer { }")
    with pytest.raises(FileFormatError, match="byte"):
        model_file.read_model(path)
    with h5py.File(path, "w") as file:
        file["weights"] = 1
    with pytest.raises(FileFormatError, match="without the group 'data'"):
        model_file.read_model(path)


def test_a_blob_must_have_as_many_values_as_its_shape_says() -> None:
    blob = model_file.array_blob(np.ones((2, 3), np.float32))
    blob.shape.dim[0] = 3
    with pytest.raises(FileFormatError, match=r"shape \[3, 3\] needs 36 bytes of values, found 24"):
        model_file.blob_array(blob)


def test_mean_file(tmp_path: Path) -> None:
    mean = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    model_file.write_mean(tmp_path / "mean", mean)
    np.testing.assert_array_equal(model_file.read_mean(tmp_path / "mean"), mean)


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
    model = model_file.read_model(shared / "models/caffe_lenet5_sparse.caffemodel")
    kept = sum(int(np.count_nonzero(blob)) for layer in model for blob in layer.blobs)
    assert kept == 3993
