"""Caffe's files into .demi files and out again: the same values, and of compact files the same bytes."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import LayerBlobs, read_model, write_net_message
from demitasse.caffe.models.hdf5_file import write_hdf5
from demitasse.caffe.net import Net
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.caffe.tools import compact_file
from demitasse.caffe.weights import load_weights, save_weights
from demitasse.errors import FileFormatError, WeightsError
from demitasse.formats import FORMATS, Contents, Settings, blobs, pack, unpack
from demitasse.formats.compact import Compact
from demitasse.methods import pow2
from demitasse.packed.compact import deep_compression, encode
from demitasse.packed.file import File
from demitasse.packed.header import Header
from demitasse.packed.tensor import of_array
from demitasse.packed.writer import pack as packed_bytes
from tests.conftest import SHARED

EXAMPLES = Path(compact_file.__file__).parents[2] / "examples"
# of the many snapshots these, and the others in the long run
SOLVERS = ("common", "dns_lars", "inq_030_060", "pretrain", "raw", "resume_h5", "sgd_20k")

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 1 dim: 6 dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 3 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "scale" }
layer { name: "ip" type: "InnerProduct" bottom: "scale" top: "ip" inner_product_param { num_output: 4 } }
"""
PLAIN = NET.replace('layer { name: "scale" type: "Scale" bottom: "conv" top: "scale" }\n', "").replace(
    '"scale"', '"conv"'
)


def model(text: str, path: Path, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Writes net.prototxt and a caffemodel of powers of two; returns its blobs."""
    rng, message, found = np.random.default_rng(seed), parse(text, NetParameter(), "net"), {}
    (path.parent / "net.prototxt").write_text(text)
    net = Net(message)
    for layer in message.layer:
        if layer.name in net.named_layers():
            found[layer.name] = [
                (np.exp2(rng.integers(-6, 0, blob.shape)) * rng.integers(-1, 2, blob.shape)).astype(np.float32)
                for blob in net.layer(layer.name).blobs()
            ]
            layer.blobs.extend(map(array_blob, found[layer.name]))
    write_net_message(message, path)
    return {name: arrays for name, arrays in found.items() if arrays}


def with_blobs(path: Path) -> list[LayerBlobs]:
    """Returns the layers that have blobs, without what stands for a shared blob."""
    found = [layer._replace(blobs=[b for b in layer.blobs if b.shape != (0,)]) for layer in read_model(path)]
    return [layer for layer in found if layer.blobs]


def header(source: Path | bytes) -> Header:
    with File(source) as file:
        return file.header


def plain(layer: LayerBlobs) -> LayerBlobs:
    """Returns what a layer computes with: masks of surgery cut, those of quantization do nothing."""
    if not layer.type.startswith(("DNS", "INQ", "C")) or layer.type == "Convolution" or len(layer.blobs) < 3:
        return layer
    values, masks = layer.blobs[: len(layer.blobs) // 2], layer.blobs[len(layer.blobs) // 2 :]
    if not layer.type.startswith("INQ"):
        values = [np.where(mask == 1, value, np.float32(0)) for value, mask in zip(values, masks, strict=True)]
    return LayerBlobs(layer.name, re.sub("^(DNS|INQ|C)(?=[CI])", "", layer.type), values)


def same(one: Path, other: Path) -> bool:
    ours, theirs = with_blobs(one), [plain(layer) for layer in with_blobs(other)]
    assert [layer[:2] for layer in ours] == [layer[:2] for layer in theirs]
    pairs = [pair for our, their in zip(ours, theirs, strict=True) for pair in zip(our.blobs, their.blobs, strict=True)]
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def models() -> list[object]:
    """Returns all caffemodels."""
    found = []
    for path in sorted([*SHARED.glob("models/*.caffemodel"), *SHARED.glob("golden/**/*.caffemodel*")]):
        some = "solvers" not in path.parts or path.parent.name in SOLVERS
        found.append(pytest.param(path, id=str(path.relative_to(SHARED)), marks=() if some else pytest.mark.slow))
    return found


@pytest.mark.parametrize("path", models())
def test_every_caffemodel_comes_back(path: Path, tmp_path: Path) -> None:
    packed, back = tmp_path / "net.demi", tmp_path / ("back.caffemodel" + (".h5" if path.suffix == ".h5" else ""))
    if path.suffix == ".h5" and any(len(layer.blobs) == 4 for layer in read_model(path)):
        with pytest.raises(WeightsError, match="HDF5 does not tell whether they cut or freeze them"):
            pack(path, packed)
        return
    pack(path, packed, signed_zeros=True)
    unpack(packed, back)
    assert same(back, path)


def compressed(kind: str, folder: Path, hdf5: bool = False) -> tuple[Path, Path]:
    """Writes a net of a compressing layer and its model: values 1 to 6, the masks 1 0 1 0 1 0."""
    values = np.arange(1, 7, dtype=np.float32)
    arrays = [values.reshape(2, 3), values[:2], values.reshape(2, 3) % 2, values[:2] % 2]
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }'
    text = (
        f'{data} layer {{ name: "ip" type: "{kind}" bottom: "data" top: "ip" inner_product_param {{ num_output: 2 }} }}'
    )
    net, path = folder / "net.prototxt", folder / f"raw.caffemodel{'.h5' if hdf5 else ''}"
    net.write_text(text)
    if hdf5:
        write_hdf5({"ip": dict(enumerate(arrays))}, path)
    else:
        message = parse(text, NetParameter(), "net")
        message.layer[1].blobs.extend(map(array_blob, arrays))
        write_net_message(message, path)
    (folder / "plain.prototxt").write_text(text.replace(kind, "InnerProduct"))
    return net, path


CUT, WHOLE = ([[1, 0, 3], [0, 5, 0]], [1, 0]), ([[1, 2, 3], [4, 5, 6]], [1, 2])
KINDS = [("DNSInnerProduct", CUT), ("CInnerProduct", CUT), ("INQInnerProduct", WHOLE)]


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_masks_are_applied_and_a_line_says_so(
    kind: str, expected: tuple[list[list[int]], list[int]], hdf5: bool, tmp_path: Path
) -> None:
    net, path = compressed(kind, tmp_path, hdf5)
    said: list[str] = []
    pack(path, tmp_path / "net.demi", net=net, say=said.append)
    with File(tmp_path / "net.demi") as file:
        found = {tensor.name: tensor.array().tolist() for tensor in file.tensors()}
        assert file.header.metadata == ({} if hdf5 else {"caffe": "InnerProduct"})
    assert found == {"ip.0": expected[0], "ip.1": expected[1]}
    assert len(said) == 1
    assert f"{path}: applied and dropped the masks of ip" in said[0]


@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_export_applies_masks_to_a_plain_net(
    kind: str, expected: tuple[list[list[int]], list[int]], tmp_path: Path
) -> None:
    from demitasse.export import of_files

    _, path = compressed(kind, tmp_path)
    said: list[str] = []
    model = of_files(tmp_path / "plain.prototxt", path, say=said.append)
    weights = next(step.weights for step in model.graph.steps if step.name == "ip")
    assert (weights["weight"].tolist(), weights["bias"].tolist()) == expected
    assert "applied and dropped the masks of ip" in said[0]


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize(
    ("kind", "command"),
    [("DNSInnerProduct", "dns_to_normal"), ("CInnerProduct", "dns_to_normal"), ("INQInnerProduct", "inq_to_normal")],
)
def test_a_plain_net_refuses_masks_and_names_the_command(kind: str, command: str, hdf5: bool, tmp_path: Path) -> None:
    _, path = compressed(kind, tmp_path, hdf5)
    what = "has masks" if hdf5 else rf"\({kind}\) has masks"
    with pytest.raises(WeightsError, match=f"layer 'ip' {what} .* plain InnerProduct: convert it .*'{command}'"):
        load_weights(Net.from_file(tmp_path / "plain.prototxt"), path)


def test_layers_without_a_mask_are_as_they_were(tmp_path: Path) -> None:
    """A Scale whose biases are 0 has two blobs of one shape, and the second one is of zeros."""
    write_hdf5({"scale": {0: np.ones(3, np.float32), 1: np.zeros(3, np.float32)}}, tmp_path / "a.caffemodel.h5")
    pack(tmp_path / "a.caffemodel.h5", tmp_path / "a.demi")
    assert [entry.name for entry in header(tmp_path / "a.demi").entries] == ["scale.0", "scale.1"]


def test_lenet5_is_small_with_names_shapes_and_types(shared: Path, tmp_path: Path) -> None:
    contents = FORMATS["caffemodel"].read(shared / "models/caffe_lenet5_sparse.caffemodel", Settings())
    tensors = []
    for tensor in contents.tensors:
        weight = torch.from_numpy(tensor.array().copy())
        rounded = pow2.project(weight, pow2.grid(float(weight.abs().max()), 7))
        tensors.append(of_array(tensor.name, rounded.numpy()))
    data = packed_bytes(tensors, contents.metadata)
    assert header(data).metadata == {"caffe": "CConvolution CConvolution CInnerProduct CInnerProduct"}
    assert len(data) <= 2_700
    # the names, shapes and types of a plain net cost a few bytes
    assert len(data) - len(packed_bytes(tensors)) < 16


def compact_cases() -> list[object]:
    found = []
    for path in sorted(SHARED.glob("golden/convert/*/*.json")):
        case = json.loads(path.read_text())
        if isinstance(case, dict) and case.get("exit_status") == 0 and case["outputs"]:
            file = path.parent / case["outputs"][0].split()[0]
            if file.suffix in (".binary", ".model"):
                net = path.parent / case["inputs"].get("normal_net", case["inputs"].get("net"))
                found.append(pytest.param(file, case["tool"], net, id=f"{path.parent.name}-{file.name}"))
    return found


CODEC = {
    "encode_compact": "4/4",
    "encode_compact48": "4/8",
    "dns_inq2compact": "4/4",
    "sqznet_inq_compact": "squeezenet",
    "dns_model_compress": "sparse",
}


@pytest.mark.parametrize(("file", "tool", "net"), compact_cases())
def test_the_originals_compact_files_come_back_byte_for_byte(
    file: Path, tool: str, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.resolve().parent)  # nets name their data relative to their own folder
    pack(file, tmp_path / "net.demi", CODEC[tool], net=net.resolve(), layers="original")
    unpack(tmp_path / "net.demi", tmp_path / "back.binary", layers="original")
    assert (tmp_path / "back.binary").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(("name", "codec"), [("lenet5_encode_compact", "4/4"), ("lenet5_encode_compact48", "4/8")])
def test_published_compact_files(name: str, codec: str, shared: Path, tmp_path: Path) -> None:
    path, net = shared / f"models/compact/{name}.binary", EXAMPLES / "lenet5/deploy.prototxt"
    pack(path, tmp_path / "net.demi", codec, net=net)
    assert (tmp_path / "net.demi").stat().st_size < path.stat().st_size / 2
    unpack(tmp_path / "net.demi", tmp_path / "back.binary")
    assert (tmp_path / "back.binary").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("codec", ["4/4", "4/8", "squeezenet", "sparse"])
def test_compact_files_of_a_small_net(codec: str, tmp_path: Path) -> None:
    model(PLAIN, tmp_path / "net.caffemodel")
    pack(tmp_path / "net.caffemodel", tmp_path / "one.demi")
    unpack(tmp_path / "one.demi", tmp_path / "compact", codec)
    pack(tmp_path / "compact", tmp_path / "two.demi", codec, net=tmp_path / "net.prototxt")
    unpack(tmp_path / "two.demi", tmp_path / "back.caffemodel")
    assert same(tmp_path / "back.caffemodel", tmp_path / "net.caffemodel")
    assert list(header(tmp_path / "two.demi").metadata) == ["caffe", "compact"]


def test_what_values_do_not_tell_of_a_compact_file_is_kept(tmp_path: Path) -> None:
    layers = model(PLAIN, tmp_path / "net.caffemodel")
    data = bytearray(encode("4/8", layers))
    data[4:8] = np.float32(7).tobytes()  # what the codebook has at 0, which nobody reads
    (tmp_path / "compact").write_bytes(data)
    pack(tmp_path / "compact", tmp_path / "net.demi", "4/8", net=tmp_path / "net.prototxt")
    assert list(header(tmp_path / "net.demi").metadata) == ["caffe", "compact", "compact.conv"]
    unpack(tmp_path / "net.demi", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    unpack(tmp_path / "net.demi", tmp_path / "back", "4/4")
    assert (tmp_path / "back").read_bytes() == encode("4/4", layers)


@pytest.mark.parametrize("kept", ["!", "AAAA", None])
def test_what_is_kept_must_be_that_of_the_values(kept: str | None, tmp_path: Path) -> None:
    import base64

    weight = np.float32([[0.5, 0, 0.25]])
    text = kept or base64.b64encode(encode("4/8", {"ip": [2 * weight]})).decode()
    contents = Contents([of_array("ip.0", weight)], {"compact": "4/8", "compact.ip": text})
    with pytest.raises(FileFormatError, match=r"^metadata 'compact\.ip'"):
        Compact("4/8").write(contents, BytesIO(), Settings())
    assert list(tmp_path.iterdir()) == []


def test_deep_compression_of_a_small_net(tmp_path: Path) -> None:
    layers = model(PLAIN, tmp_path / "net.caffemodel")
    pack(tmp_path / "net.caffemodel", tmp_path / "one.demi")
    unpack(tmp_path / "one.demi", tmp_path / "shared.net")
    shapes = {name: [array.shape for array in arrays] for name, arrays in layers.items()}
    decoded = deep_compression.decode((tmp_path / "shared.net").read_bytes(), shapes)
    assert all(np.array_equal(*both) for name in layers for both in zip(decoded[name], layers[name], strict=True))
    pack(tmp_path / "shared.net", tmp_path / "two.demi", net=tmp_path / "net.prototxt")
    unpack(tmp_path / "two.demi", tmp_path / "back.caffemodel")
    assert same(tmp_path / "back.caffemodel", tmp_path / "net.caffemodel")


@pytest.mark.slow
def test_deep_compressions_squeezenet(shared: Path, tmp_path: Path) -> None:
    path, net = shared / "models/squeezenet_v1.0_deep_compression.net", EXAMPLES / "squeezenet/deploy.prototxt"
    compact_file.deep_compression_to_caffe(net, path, tmp_path / "decoded.caffemodel")
    pack(path, tmp_path / "net.demi", net=net)
    unpack(tmp_path / "net.demi", tmp_path / "back.caffemodel")
    assert same(tmp_path / "back.caffemodel", tmp_path / "decoded.caffemodel")
    unpack(tmp_path / "net.demi", tmp_path / "again.net")
    assert (tmp_path / "again.net").stat().st_size == path.stat().st_size
    pack(tmp_path / "again.net", tmp_path / "again.demi", net=net)
    assert (tmp_path / "again.demi").read_bytes() == (tmp_path / "net.demi").read_bytes()


def test_a_file_with_the_definition_is_a_whole_model(tmp_path: Path) -> None:
    layers = model(NET, tmp_path / "net.caffemodel")
    pack(tmp_path / "net.caffemodel", tmp_path / "net.demi", net=tmp_path / "net.prototxt", definition=True)
    out = tmp_path / "out"
    out.mkdir()
    unpack(tmp_path / "net.demi", out / "net.caffemodel", definition=True)
    unpack(tmp_path / "net.demi", out / "net.v2.caffemodel.h5", definition=True)
    assert (out / "net.v2.prototxt").read_text() == NET
    assert (out / "net.prototxt").read_text() == NET
    assert [layer[:2] for layer in read_model(out / "net.caffemodel")] == [
        layer[:2] for layer in read_model(tmp_path / "net.caffemodel")
    ]
    assert same(out / "net.caffemodel", tmp_path / "net.caffemodel")
    net = Net.from_file(out / "net.prototxt")
    from demitasse.caffe.weights import load_weights

    assert load_weights(net, out / "net.caffemodel") == list(layers)


def test_the_net_completes_a_caffemodel(tmp_path: Path) -> None:
    model(NET, tmp_path / "net.caffemodel")
    pack(tmp_path / "net.caffemodel", tmp_path / "net.demi")
    unpack(tmp_path / "net.demi", tmp_path / "plain.caffemodel")
    assert [layer.name for layer in read_model(tmp_path / "plain.caffemodel")] == ["conv", "scale", "ip"]
    unpack(tmp_path / "net.demi", tmp_path / "whole.caffemodel", net=tmp_path / "net.prototxt")
    assert [layer.name for layer in read_model(tmp_path / "whole.caffemodel")] == [
        "data",
        "conv",
        "relu",
        "scale",
        "ip",
    ]
    (tmp_path / "other.prototxt").write_text(NET.replace('"ip"', '"fc"'))
    with pytest.raises(WeightsError, match=r"^ip\.0: the net has no layer 'ip'"):
        unpack(tmp_path / "net.demi", tmp_path / "x.caffemodel", net=tmp_path / "other.prototxt")


def test_blobs_that_are_shared_in_hdf5(tmp_path: Path) -> None:
    weight, bias = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
    write_hdf5({"ip": {0: weight, 1: bias}, "twin": {1: bias}}, tmp_path / "a.caffemodel.h5")
    pack(tmp_path / "a.caffemodel.h5", tmp_path / "net.demi")
    assert [entry.name for entry in header(tmp_path / "net.demi").entries] == ["ip.0", "ip.1", "twin.1"]
    unpack(tmp_path / "net.demi", tmp_path / "b.caffemodel.h5")
    assert same(tmp_path / "b.caffemodel.h5", tmp_path / "a.caffemodel.h5")
    with pytest.raises(WeightsError, match=r"^twin\.0 is missing; a caffemodel needs it before twin\.1"):
        unpack(tmp_path / "net.demi", tmp_path / "b.caffemodel")


def contents(**tensors: np.ndarray) -> Contents:
    return Contents([of_array(name.replace("__", "."), array) for name, array in tensors.items()])


ONE = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (contents(a__0=ONE.astype(np.float16)), r"^a\.0 has type float16; a caffemodel holds float32 and float64"),
        (contents(bn__running_mean=ONE), r"^'bn.running_mean' is not a blob of a Caffe net"),
        (contents(weight=ONE), "^'weight' is not a blob"),
        (contents(a__00=ONE), "^'a.00' is not a blob"),
        (Contents([of_array("a." + 5000 * "9", ONE)]), "is not a blob"),
        (contents(a__0=ONE, a__weight=ONE), r"^'a\.0' and 'a\.weight' are both blob 0 of layer 'a'"),
        (contents(a__1=ONE), r"^a\.0 is missing"),
    ],
)
def test_what_a_caffemodel_cannot_hold(given: Contents, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        FORMATS["caffemodel"].write(given, BytesIO(), Settings())


def test_names_of_pytorch_are_layers_too() -> None:
    (layer,) = blobs.to_layers(contents(fc__bias=ONE[0], fc__weight=ONE))
    assert [array.shape for array in layer.arrays("x")] == [(2, 2), (2,)]


@pytest.mark.parametrize("codec", ["4/4", "net"])
def test_what_compact_files_cannot_hold(codec: str, tmp_path: Path) -> None:
    model(NET, tmp_path / "net.caffemodel")
    pack(tmp_path / "net.caffemodel", tmp_path / "net.demi")
    with pytest.raises(WeightsError, match=r"^scale\.0 belongs to a layer of type Scale; a .*(4/4|\.net).* contains"):
        unpack(tmp_path / "net.demi", tmp_path / "out", codec)
    many = Contents([of_array("ip.0", np.arange(20, dtype=np.float32))])
    message = "layer 'ip' weight: (14 of 19 values are not quantized|found 19 distinct nonzero values; .* at most 15)"
    with pytest.raises(WeightsError, match=message):
        FORMATS[codec].write(many, BytesIO(), Settings())


def test_masks_are_not_for_compact_files() -> None:
    with pytest.raises(WeightsError, match=r"^ip\.2 is one blob too many; .*dns_to_normal"):
        FORMATS["4/8"].write(contents(ip__0=ONE, ip__1=ONE[0], ip__2=ONE, ip__3=ONE[0]), BytesIO(), Settings())


def test_types_in_the_metadata_must_be_as_many_as_layers() -> None:
    with pytest.raises(FileFormatError, match="metadata 'caffe' has types of 2 layers; expected 1"):
        blobs.to_layers(contents(a__0=ONE)._replace(metadata={"caffe": "Scale Scale"}))


def test_a_slash_is_not_for_hdf5() -> None:
    given = Contents([of_array("a/b.0", ONE)])
    with pytest.raises(WeightsError, match="layer 'a/b': '/' in a name would be a group in HDF5"):
        FORMATS["hdf5"].write(given, BytesIO(), Settings())


def test_layers_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    message = NetParameter()
    for _ in range(2):
        message.layer.add(name="ip", type="InnerProduct").blobs.append(array_blob(ONE))
    write_net_message(message, tmp_path / "net.caffemodel")
    pack(tmp_path / "net.caffemodel", tmp_path / "net.demi")
    assert [entry.name for entry in header(tmp_path / "net.demi").entries] == ["ip.0", "ip#2.0"]


def test_the_definition_of_a_masked_model_is_plain(tmp_path: Path) -> None:
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
      layer { name: "ip" type: "DNSInnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 }
        param { lr_mult: 1 } param { lr_mult: 2 } param { lr_mult: 0 } param { lr_mult: 0 } }"""
    (tmp_path / "net").write_text(text, encoding="utf-8")
    save_weights(Net.from_file(tmp_path / "net"), tmp_path / "model.caffemodel")
    pack(tmp_path / "model.caffemodel", tmp_path / "net.demi", net=tmp_path / "net", definition=True)
    unpack(tmp_path / "net.demi", tmp_path / "back.caffemodel", definition=True)
    plain = Net.from_file(tmp_path / "back.prototxt")
    assert plain.layer("ip").spec.type == "InnerProduct"
    assert load_weights(plain, tmp_path / "back.caffemodel") == ["ip"]


@pytest.mark.parametrize("kind", ["DNSInnerProduct", "INQInnerProduct"])
def test_a_plain_net_beside_masks_in_hdf5_is_refused(kind: str, tmp_path: Path) -> None:
    _, path = compressed(kind, tmp_path, hdf5=True)
    with pytest.raises(
        WeightsError, match=r"layer 'ip' has masks .* but in .*plain.prototxt it is a plain InnerProduct"
    ):
        pack(path, tmp_path / "net.demi", net=tmp_path / "plain.prototxt")
    assert not (tmp_path / "net.demi").exists()


def test_masks_of_layers_of_equal_names_in_hdf5(tmp_path: Path) -> None:
    net, path = compressed("DNSInnerProduct", tmp_path)
    text = net.read_text()
    _, layer, rest = text.partition('layer { name: "ip"')
    net.write_text(text + "\n" + layer + rest.replace('top: "ip"', 'top: "more"'))
    (first,) = [each.blobs for each in read_model(path) if each.blobs]
    second = [first[0], first[1], np.ones((2, 3), np.float32), np.zeros(2, np.float32)]
    write_hdf5({"ip": dict(enumerate(first)), "ip#2": dict(enumerate(second))}, tmp_path / "two.caffemodel.h5")
    pack(tmp_path / "two.caffemodel.h5", tmp_path / "two.demi", net=net)
    with File(tmp_path / "two.demi") as file:
        found = {tensor.name: tensor.array().tolist() for tensor in file.tensors()}
    assert found == {"ip.0": CUT[0], "ip.1": CUT[1], "ip#2.0": WHOLE[0], "ip#2.1": [0, 0]}


def test_loaded_tensors_are_writable(tmp_path: Path) -> None:
    """Warnings are errors here, and torch warns of memory that must not be written."""
    _, path = compressed("InnerProduct", tmp_path)
    found = demitasse.load(path)
    for tensor in found.values():
        tensor.add_(1)
    again = demitasse.load(path)
    assert all(not torch.equal(tensor, again[name]) for name, tensor in found.items())


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(FileFormatError, match=r"folder\.pt: is a folder; expected a file"):
        pack(tmp_path / "folder.pt", tmp_path / "out.demi")
