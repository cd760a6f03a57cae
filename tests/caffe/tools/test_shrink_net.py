"""Compression of Caffe nets without training: what is calibrated with, and what the written models are good for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from demitasse.caffe import schema
from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model, write_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.sources.store import write_database
from demitasse.caffe.text.prototxt import parse
from demitasse.caffe.tools import compact_file
from demitasse.caffe.tools.calibration import calibration_of
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.inq_to_normal import inq_to_normal
from demitasse.caffe.tools.shrink_net import shrink_net
from demitasse.caffe.weights import load_weights
from demitasse.errors import DataError, MethodError, SizeError, UsageError, WeightsError, WriteError
from demitasse.methods import pow2
from demitasse.packed.file import File
from demitasse.runtime import optimize

Array = np.ndarray[Any, np.dtype[Any]]

INPUT = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
"""
DATA = """layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { scale: 0.01 mirror: true crop_size: 8 mean_value: 100 }
  data_param { source: "train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.01 crop_size: 8 mean_value: 100 } data_param { source: "absent" batch_size: 4 } }
"""
BODY = """
layer { name: "conv" type: "%sConvolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 } inq_convolution_param { portion: 0 portion: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "%sInnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 5 %s } inq_inner_product_param { portion: 0 portion: 1 } }
"""
LOSS = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
PREPARED: Any = {"mean": 100.0, "scale": 0.01}


def blobs(transpose: bool = False) -> dict[str, list[Array]]:
    random = np.random.default_rng(1)
    ip = random.normal(size=(5, 216)) / 15
    arrays = {
        "conv": [random.normal(size=(6, 3, 3, 3)) / 5, random.normal(size=6) / 10],
        "ip": [ip.T if transpose else ip, random.normal(size=5) / 10],
    }
    return {name: [array.astype(np.float32) for array in each] for name, each in arrays.items()}


def write_net(name: str, text: str, arrays: dict[str, list[Array]]) -> str:
    Path(f"{name}.prototxt").write_text(text)
    message = parse(text, NetParameter(), name)
    for layer in message.layer:
        layer.blobs.extend(array_blob(array) for array in arrays.get(layer.name, []))
    write_net_message(message, f"{name}.caffemodel")
    return f"{name}.prototxt"


def body(kind: str = "", settings: str = "") -> str:
    return BODY % (kind, kind, settings)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(2).integers(0, 256, (40, 10, 10, 3), np.uint8)
    Path("photos/some").mkdir(parents=True)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(f"photos/{'some/' * (index % 2)}{index:02}.png")
    Path("list.txt").write_text("\n".join(f"photos/{index:02}.png {index % 5}" for index in range(0, 40, 2)))
    records = [
        (b"%02d" % i, schema.Datum(channels=3, height=10, width=10, data=image[..., ::-1].transpose(2, 0, 1).tobytes()))
        for i, image in enumerate(pixels)
    ]
    write_database("train_lmdb", [(key, datum.SerializeToString()) for key, datum in records], "lmdb")
    write_net("net", INPUT + body(), blobs())


def weights(path: str) -> dict[str, list[Array]]:
    return {layer.name: layer.blobs for layer in read_model(path) if layer.blobs}


def outputs(net: str, model: str) -> torch.Tensor:
    built = Net.from_file(net)
    load_weights(built, model)
    images = torch.from_numpy(np.random.default_rng(5).normal(size=(20, 3, 8, 8)).astype(np.float32))
    with torch.no_grad():
        return built({"data": images})["ip"]


def test_a_plain_net_goes_through_the_tools() -> None:
    report = shrink_net(
        "net.prototxt", "net.caffemodel", "out.caffemodel", images="photos", preparation=PREPARED, bits=4
    )
    assert [row.name for row in report.rows] == ["conv.weight", "ip.weight"]
    assert report.examples == 40
    found = weights("out.caffemodel")
    assert all(pow2.on_grid(torch.from_numpy(blob.copy())).all() for each in found.values() for blob in each)
    assert len(np.unique(np.abs(found["ip"][0]))) <= 5
    assert outputs("net.prototxt", "out.caffemodel").sub(outputs("net.prototxt", "net.caffemodel")).abs().mean() < 0.2
    compact_file.encode("4/8", "net.prototxt", "out.caffemodel", "out.bin")
    compact_file.decode("4/8", "net.prototxt", "out.bin", "back.caffemodel")
    assert torch.equal(outputs("net.prototxt", "back.caffemodel"), outputs("net.prototxt", "out.caffemodel"))
    net = Net.from_file("net.prototxt")
    load_weights(net, "out.caffemodel")
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(optimize(net)({"data": images})["ip"], net({"data": images})["ip"], atol=1e-5)


def test_a_net_of_quantization_gets_frozen_weights() -> None:
    inq = write_net("inq", INPUT + body("INQ"), {})
    plain = weights("net.caffemodel")
    write_net("inq", INPUT + body("INQ"), {name: [*each, *map(np.ones_like, each)] for name, each in plain.items()})
    shrink_net(inq, "inq.caffemodel", "out.caffemodel", images="list.txt", preparation=PREPARED, bits=3)
    for values, bias, *masks in weights("out.caffemodel").values():
        assert all(pow2.on_grid(torch.from_numpy(blob.copy())).all() for blob in (values, bias))
        assert not any(mask.any() for mask in masks)
        assert len(masks) == 2
    inq_to_normal(inq, "out.caffemodel", "net.prototxt", "plain.caffemodel")
    assert torch.equal(outputs("net.prototxt", "plain.caffemodel"), outputs(inq, "out.caffemodel"))
    shrink_net(inq, "inq.caffemodel", "pruned.caffemodel", images="photos", preparation=PREPARED, sparsity=0.5)
    for values, bias, mask, bias_mask in weights("pruned.caffemodel").values():
        assert np.array_equal(mask, values != 0)
        assert bias_mask.all()
        assert bias.any()


def test_a_net_of_surgery_gets_masks() -> None:
    text = INPUT + body("DNS")
    plain = weights("net.caffemodel")
    cut = [np.float32(np.abs(each[0]) > 0.03) for each in plain.values()]
    arrays = {name: [*each, mask, np.ones_like(each[1])] for (name, each), mask in zip(plain.items(), cut, strict=True)}
    dns = write_net("dns", text, arrays)
    shrink_net(dns, "dns.caffemodel", "out.caffemodel", images="photos", preparation=PREPARED, sparsity=0.7)
    for (values, _, mask, bias_mask), before in zip(weights("out.caffemodel").values(), cut, strict=True):
        assert np.array_equal(mask, values != 0)
        assert bias_mask.all()
        assert not mask[before == 0].any()  # what was cut before stays cut
    dns_to_normal(dns, "out.caffemodel", "net.prototxt", "plain.caffemodel")
    assert torch.equal(outputs("net.prototxt", "plain.caffemodel"), outputs(dns, "out.caffemodel"))
    assert compact_file.encode("sparse", dns, "out.caffemodel", "out.bin") > 0


@pytest.mark.parametrize("options", [{}, {"source": "train_lmdb"}, {"images": "photos"}])
def test_a_training_net_says_how_its_images_are_prepared(options: dict[str, str]) -> None:
    net = write_net("train", DATA.replace('"absent"', '"train_lmdb"') + body() + LOSS, weights("net.caffemodel"))
    found = calibration_of(
        net, "train.caffemodel", *(options.get(key) for key in ("images", "source")), {}, 40, 0, print
    )
    first = found.batches[0]["data"]
    assert first.shape[1:] == (3, 8, 8)
    assert sum(len(batch["data"]) for batch in found.batches) == 40
    assert -1 <= float(first.min()) < -0.6
    assert 1.2 < float(first.max()) <= 1.56
    shrink_net(net, "train.caffemodel", "out.caffemodel", bits=4, examples=24, **options)  # type: ignore[arg-type]
    assert {layer.name for layer in read_model("out.caffemodel")} >= {"conv", "ip"}


def test_database_and_images_give_the_same_inputs_and_no_mirrors() -> None:
    net = write_net("train", DATA + body() + LOSS, weights("net.caffemodel"))
    (own, *_), _ = calibration_of(net, "train.caffemodel", None, None, {}, 4, 0, print)
    (records, *_), _ = calibration_of(net, "train.caffemodel", None, "train_lmdb", {}, 40, 0, print)
    (given, *_), _ = calibration_of(
        "net.prototxt", "net.caffemodel", None, "train_lmdb", {**PREPARED, "size": (10, 10)}, 40, 0, print
    )
    (files, *_), _ = calibration_of(
        "net.prototxt", "net.caffemodel", "photos", None, {**PREPARED, "size": (10, 10)}, 40, 0, print
    )
    assert torch.equal(own["data"], records["data"][:4])
    assert torch.allclose(records["data"], given["data"], atol=1e-6)
    assert sorted(files["data"].flatten(1).sum(1).tolist()) == pytest.approx(
        sorted(given["data"].flatten(1).sum(1).tolist()), abs=1e-3
    )


def test_examples_bound_the_draw_and_the_seed_decides_it() -> None:
    def drawn(seed: int) -> torch.Tensor:
        found = calibration_of("net.prototxt", "net.caffemodel", "photos", None, PREPARED, 7, seed, print)
        return found.batches[0]["data"]

    assert len(drawn(0)) == 7
    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


def test_transposed_weights_and_other_layers_come_back_as_they_were() -> None:
    arrays = blobs(transpose=True)
    net = write_net("turned", INPUT + body(settings="transpose: true"), arrays)
    shrink_net(net, "turned.caffemodel", "out.caffemodel", images="photos", preparation=PREPARED, sparsity=0.1)
    found = weights("out.caffemodel")
    assert found["ip"][0].shape == (216, 5)
    assert outputs(net, "out.caffemodel").sub(outputs(net, "turned.caffemodel")).abs().mean() < 0.1
    shrink_net(
        net, "turned.caffemodel", "one.caffemodel", images="photos", preparation=PREPARED, bits=2, exclude=["ip"]
    )
    assert all(np.array_equal(a, b) for a, b in zip(weights("one.caffemodel")["ip"], arrays["ip"], strict=True))
    report = shrink_net(
        net,
        "turned.caffemodel",
        "two.caffemodel",
        images="photos",
        preparation=PREPARED,
        bits={"i*": 2, "conv.weight": 5},
    )
    assert [row.values for row in report.rows][1] <= 2


def test_a_demi_file_is_whole() -> None:
    write_mean("mean.binaryproto", np.full((3, 10, 10), 100, np.float32))
    text = DATA.replace("mean_value: 100", 'mean_file: "mean.binaryproto"')
    net = write_net("train", text + body() + LOSS, weights("net.caffemodel"))
    said: list[str] = []
    shrink_net(
        net, "train.caffemodel", "out.demi", images="photos", preparation={"size": (10, 10)}, sparsity=0.5,
        classes=list("abcde"), say=said.append,
    )  # fmt: skip
    with File("out.demi") as file:
        texts = file.header.metadata
    assert texts["input"] == "bgr 10x10:8x8 100 0.01"
    assert texts["classes"] == "a\nb\nc\nd\ne"
    assert texts["definition"] == Path(net).read_text()
    assert {"graph", "caffe"} <= texts.keys()
    assert said == ["mean.binaryproto: of each channel, the mean over all pixels is stored"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"preparation": {}}, UsageError, "net.prototxt: the net has no data layer; give images or source"),
        ({"images": "photos", "source": "train_lmdb"}, UsageError, "both images and source are given"),
        ({"images": "photos", "preparation": {}}, UsageError, "say how images become inputs; give preparation"),
        ({"images": "photos", "preparation": {"channels": "grey"}}, UsageError, "channels is 'grey'; the net takes"),
        ({"images": "nowhere"}, DataError, "nowhere: not a list of images"),
        ({"images": "empty"}, DataError, "empty: there are no images in it"),
        ({"images": "names.txt"}, DataError, "gone.png: cannot be read"),
        ({"source": "empty"}, DataError, "empty"),
        ({"images": "photos", "exclude": ["cnov"]}, MethodError, "'cnov' matches no layer; did you mean 'conv'"),
        ({"images": "photos", "bits": {"fc": 3}}, MethodError, "bits: 'fc' matches no layer; known: conv, ip"),
        ({"images": "photos", "max_bytes": 60}, SizeError, "max_bytes is 60, but"),
        ({"images": "photos", "model": "other.caffemodel"}, WeightsError, "conv"),
        ({"images": "photos", "out": "out.safetensors"}, UsageError, r"safetensors: expected .*\.caffemodel or \.demi"),
        ({"images": "photos", "out": "DEMI"}, UsageError, r"DEMI: expected a name that ends in \.caffemodel or \.demi"),
        ({"net": "train.prototxt", "preparation": {"scale": 1.0}}, UsageError, "its own data layers prepare"),
        ({"net": "train.prototxt", "preparation": {"size": 0}, "out": "out.demi"}, UsageError, "size is 0; expected"),
        ({"images": "nowhere", "out": "gone/out.demi"}, WriteError, "there is no folder 'gone'; nothing was written"),
        ({"images": "nowhere", "out": "folder.demi"}, WriteError, "there is a folder of this name"),
    ],
)  # fmt: skip
def test_wrong_use_writes_nothing(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    Path("empty").mkdir()
    Path("names.txt").write_text("gone.png\n")
    other = blobs()
    other["conv"][0] = other["conv"][0][:4]
    write_net("other", INPUT + body(), other)
    Path("folder.demi").mkdir()
    write_net("train", DATA + body() + LOSS, blobs())
    settings = {
        "net": "net.prototxt", "model": "net.caffemodel", "preparation": PREPARED, "out": "out.caffemodel", **options,
    }  # fmt: skip
    before = sorted(Path().rglob("*"))
    with pytest.raises(kind, match=message):
        shrink_net(**settings)
    assert sorted(Path().rglob("*")) == before


def test_an_interruption_writes_nothing() -> None:
    def stop(done: int, total: int, name: str) -> None:
        assert name in ("conv.weight", "ip.weight")
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink_net(
            "net.prototxt", "net.caffemodel", "out.demi", images="photos", preparation=PREPARED, progress=stop
        )  # fmt: skip
    assert not Path("out.demi").exists()


@pytest.mark.parametrize("kind", ["ImageSegData", "DenseImageData"])
def test_a_segmenter_is_calibrated_with_its_own_images(kind: str, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    for index, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{index}_classes.png")
    lines = [f"{tmp_path}/{index}.png {tmp_path}/{index}_classes.png\n" for index in range(6)]
    (tmp_path / "pairs").write_text("".join(lines))
    settings = {
        "ImageSegData": "transform_param { mirror: true } image_data_param { label_type: PIXEL",
        "DenseImageData": "dense_image_data_param { mirror: true",
    }
    (tmp_path / "net").write_text(
        f'layer {{ name: "data" type: "{kind}" top: "data" top: "label" {settings[kind]} '
        f'source: "{tmp_path}/pairs" batch_size: 3 }} }}' + BODY % ("", "", "")
    )
    found = calibration_of(tmp_path / "net", "absent", None, None, {}, 6, 0, print)
    images = torch.cat([batch["data"] for batch in found.batches])
    wanted = {pixels[:, :, ::-1].transpose(2, 0, 1).tobytes() for pixels in pictures}
    assert {image.byte().numpy().tobytes() for image in images} == wanted  # each once, none of them mirrored
    assert not np.array_equal(images[0].byte().numpy(), pictures[0][:, :, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["Data", "ImageData", "HDF5Data", "DummyData"])
def test_records_of_own_data_count_once(kind: str) -> None:
    """Data that has an end is not read a second time; the shares of chance in the moments rest on that."""
    for name, rows in (("a.h5", 3), ("b.h5", 4)):
        with h5py.File(name, "w") as file:
            file["data"], file["label"] = np.random.default_rng(rows).normal(size=(rows, 3, 8, 8)), np.zeros(rows)
    Path("files").write_text("a.h5\nb.h5\n")
    settings = {
        "Data": 'transform_param { crop_size: 8 } data_param { source: "train_lmdb" batch_size: 5 backend: LMDB }',
        "ImageData": 'transform_param { crop_size: 8 } image_data_param { source: "list.txt" batch_size: 5 }',
        "HDF5Data": 'hdf5_data_param { source: "files" batch_size: 5 }',
        "DummyData": 'dummy_data_param { shape { dim: 5 dim: 3 dim: 8 dim: 8 } data_filler { type: "gaussian" } }',
    }
    tops = 'top: "data"' if kind == "DummyData" else 'top: "data" top: "label"'
    Path("own.prototxt").write_text(f'layer {{ name: "data" type: "{kind}" {tops} {settings[kind]} }}' + body())
    found = torch.cat([batch["data"] for batch in calibration_of("own.prototxt", "", None, None, {}, 100, 0, print)[0]])
    assert len(found) == {"Data": 40, "ImageData": 20, "HDF5Data": 7, "DummyData": 100}[kind]
    assert len(found.flatten(1).unique(dim=0)) == len(found)
