"""How images are prepared, as prototxts tell, and kept by the formats that have a place for it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import demitasse
from demitasse import Preparation
from demitasse.caffe import schema
from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.net import Net
from demitasse.caffe.text import prototxt
from demitasse.errors import DemitasseError, FileFormatError, UsageError
from demitasse.export import export
from demitasse.packed.file import File
from demitasse.preparation import Parts, preparation_in
from demitasse.preparation.text import of_text

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: %d dim: 6 dim: 8 } } }'
DATA = 'layer { name: "data" type: "Data" top: "data" top: "label" %s data_param { source: "gone" batch_size: 2 } }'
FILES = (
    'layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { %s } image_data_param '
    '{ source: "gone.txt" new_height: 10 new_width: 12 %s } }'
)
MEMORY = (
    'layer { name: "data" type: "MemoryData" top: "data" top: "label" transform_param { scale: 0.5 } '
    "memory_data_param { batch_size: 1 channels: 1 height: 5 width: 7 } }"
)
CONVOLUTION = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
    "convolution_param { num_output: 4 kernel_size: 1 group: %d } }"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_mean("mean.binaryproto", np.arange(3.0)[:, None, None] * np.ones((3, 10, 12), np.float32))


def pack(data: str, channels: int = 3, group: int = 1, **settings: object) -> tuple[Preparation | None, list[str]]:
    """Packs a net of one convolution; returns how the file says that images are prepared, and what pack says."""
    weights = {"conv.weight": torch.ones(4, channels // group, 1, 1), "conv.bias": torch.zeros(4)}
    demitasse.save(weights, "net.safetensors")
    Path("net.prototxt").write_text(data + CONVOLUTION % group)
    said: list[str] = []
    settings = {"definition": True, "net": "net.prototxt", **settings}
    demitasse.pack("net.safetensors", "net.demi", say=said.append, **settings)  # type: ignore[arg-type]
    with File("net.demi") as file:
        # of the graph other tests speak: some of these nets have data that is not there
        return preparation_in(file.header.metadata), [line for line in said if not line.startswith("stored no graph")]


@pytest.mark.parametrize(
    ("data", "channels", "expected"),
    [
        (DATA % "transform_param { crop_size: 5 mean_value: 1 mean_value: 2 mean_value: 3 }", 3, "bgr 5x5 1,2,3"),
        (DATA % "transform_param { crop_size: 5 scale: 0.00390625 }", 1, "grey 5x5 0 0.00390625"),
        (DATA % "transform_param { crop_size: 5 mean_file: 'mean.binaryproto' scale: 0.5 }", 3, "bgr 5x5 0,1,2 0.5"),
        (DATA % "include { phase: TRAIN }" + DATA % "transform_param { crop_size: 4 }", 1, "grey 4x4"),
        (FILES % ("", ""), 3, "bgr 10x12"),
        (FILES % ("mean_value: 9 scale: 2", "is_color: false"), 1, "grey 10x12 9 2"),
        (FILES % ("crop_size: 6 mirror: true", ""), 3, "bgr 10x12:6x6"),
        (MEMORY, 1, "grey 5x7 0 0.5"),
        (INPUT % 3, 3, None),
    ],
)
def test_what_a_prototxt_tells(data: str, channels: int, expected: str | None) -> None:
    found, said = pack(data, channels)
    assert found == (of_text(expected) if expected else None)
    assert said == (["mean.binaryproto: of each channel, the mean over all pixels is stored"] if "file" in data else [])


def test_channels_of_a_grouped_convolution() -> None:
    found, _ = pack(DATA % "transform_param { crop_size: 5 }", channels=3, group=3)
    assert found == Preparation("bgr", (5, 5))


@pytest.mark.parametrize(
    ("data", "given", "expected"),
    [
        (INPUT % 3, {"mean": (1, 2, 3)}, Preparation("bgr", (6, 8), (1, 2, 3))),
        (INPUT % 3, {"size": (9, 9), "channels": "rgb"}, Preparation("rgb", (9, 9), crop=(6, 8))),
        (INPUT % 3, {"size": (6, 8), "scale": 2.0}, Preparation("bgr", (6, 8), scale=2)),
        (INPUT % 1, {"scale": 0.1}, Preparation("grey", (6, 8), scale=0.1)),
        (
            DATA % "transform_param { crop_size: 5 mean_value: 7 }",
            {"size": (9, 9)},
            Preparation("bgr", (9, 9), 7, 1, (5, 5)),
        ),
        (DATA % "transform_param { scale: 2 }", {"size": (9, 9)}, Preparation("bgr", (9, 9), scale=2)),
        (FILES % ("mean_file: 'gone'", ""), {"mean": 3.0}, Preparation("bgr", (10, 12), 3)),
    ],
)
def test_what_is_given_goes_first(data: str, given: Parts, expected: Preparation) -> None:
    assert pack(data, expected.shape[0], preparation=given) == (expected, [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA % "transform_param { scale: 2 }", "nothing says the size of the images; give size"),
        (DATA % "transform_param { crop_size: 5 mean_file: 'gone' }", "gone: cannot be read"),
        (DATA % "transform_param { crop_size: 5 scale: 0 }", "scale is 0"),
        (DATA % "transform_param { crop_size: 5 mean_value: 1 mean_value: 2 }", r"mean is \(1.0, 2.0\)"),
        (DATA % "transform_param { crop_size: 1000000000 }", r"size is \(1000000000, 1000000000\)"),
        (FILES % ("crop_size: 11", ""), r"crop is \(11, 11\)"),
    ],
)
def test_a_prototxt_that_does_not_tell_enough(data: str, message: str) -> None:
    found, (said,) = pack(data)
    assert found is None
    assert re.match(f"net.prototxt: how its images are prepared is not stored: .*{message}", said)


@pytest.mark.parametrize(
    ("data", "given", "message"),
    [
        (INPUT % 3, {"channels": "grey"}, "net.prototxt: channels is 'grey'; the net takes bgr"),
        (INPUT % 3, {"size": (5, 9)}, r"crop is \(6, 8\); expected at most the size, \(5, 9\)"),
        (INPUT % 3, {"size": (9, 9), "crop": (5, 5)}, r"images become \[5, 5\] pixels; the net takes \[6, 8\]"),
        (INPUT % 2, {"scale": 2.0}, "nothing says the channels of the images; give channels"),
        (INPUT % 3, {"mean": (1.0, 2.0)}, r"mean is \(1.0, 2.0\)"),
        (DATA % "transform_param { crop_size: 5 mean_file: 'gone' }", {"scale": 2.0}, "gone: cannot be read"),
        (CONVOLUTION % 1, {"scale": 2.0}, "nothing says the channels"),
    ],
)
def test_what_is_given_must_fit(data: str, given: Parts, message: str) -> None:
    with pytest.raises(DemitasseError, match=message):
        pack(data, preparation=given)


def test_without_a_net() -> None:
    found, _ = pack("", net=None, definition=False, preparation={"channels": "rgb", "size": (2, 2)})
    assert found == Preparation("rgb", (2, 2))
    with pytest.raises(UsageError, match="nothing says the size of the images; give size"):
        pack("", net=None, definition=False, preparation={"channels": "rgb"})


def test_every_format_that_has_a_place_keeps_both() -> None:
    preparation, classes = Preparation("grey", (28, 28), 33.3, 0.01), ["zero", "one"]
    texts = {"input": "grey 28x28 33.3 0.01", "classes": "zero\none"}
    state = {"ip.weight": torch.ones(2, 3)}
    for name in ("model.demi", "model.safetensors"):
        demitasse.save(state, name, preparation=preparation, classes=classes)
    demitasse.pack("model.safetensors", "again.demi")
    assert demitasse.unpack("again.demi", "again.safetensors") == []
    demitasse.pack("again.safetensors", "third.demi", classes=["null", "eins"])
    for name, expected in (
        ("model.demi", texts),
        ("again.demi", texts),
        ("third.demi", {**texts, "classes": "null\neins"}),
    ):
        with demitasse.open(name) as file:
            assert file.metadata == expected
            assert file.preparation == preparation
            assert file.classes == expected["classes"].split("\n")
            demitasse.save(dict(file), "copy.demi", metadata=file.metadata)
        with demitasse.open("copy.demi") as file:
            assert file.metadata == expected
    assert demitasse.unpack("again.demi", "again.pt") == ["classes", "input"]
    with pytest.raises(UsageError, match=r"model\.pt: \.pt files do not support preparation"):
        demitasse.save(state, "model.pt", preparation=preparation)
    with pytest.raises(UsageError, match=r"model\.pt: \.pt files do not support classes"):
        demitasse.save(state, "model.pt", classes=classes)
    with pytest.raises(UsageError, match="'classes': 'a\\\\udc00' is not text"):
        demitasse.save(state, "model.demi", classes=["a\udc00"])


def test_an_onnx_model_keeps_both() -> None:
    onnx = pytest.importorskip("onnx")
    text = INPUT % 3 + CONVOLUTION % 1
    export(Net(prototxt.parse(text, schema.NetParameter(), "net"), schema.TEST), "net.onnx", check=False)
    before = onnx.load("net.onnx")
    before.metadata_props.add(key="classes", value="of somebody else")
    onnx.save(before, "net.onnx")
    preparation, classes = Preparation("bgr", (6, 8), 3), ["a", "b", "c", "d"]
    demitasse.pack("net.onnx", "net.demi", preparation=preparation, classes=classes)
    assert demitasse.unpack("net.demi", "back.onnx") == []
    texts = {entry.key: entry.value for entry in onnx.load("back.onnx").metadata_props}
    expected = {"demitasse.input": "bgr 6x8 3", "demitasse.classes": "a\nb\nc\nd"}
    assert texts == {"classes": "of somebody else", **expected}
    demitasse.pack("back.onnx", "again.demi")
    assert Path("again.demi").read_bytes() == Path("net.demi").read_bytes()
    with demitasse.open("again.demi") as file:
        assert (file.preparation, file.classes) == (preparation, classes)
    demitasse.pack("back.onnx", "other.demi", classes=["e", "f"])
    assert demitasse.unpack("other.demi", "other.onnx") == []
    found = {entry.key: entry.value for entry in onnx.load("other.onnx").metadata_props}
    assert found == {**texts, "demitasse.classes": "e\nf"}


def test_metadata_that_is_no_preparation_is_not_written() -> None:
    state = {"ip.weight": torch.ones(2, 3)}
    with pytest.raises(UsageError, match="metadata 'input': found 28x28"):
        demitasse.save(state, "model.demi", metadata={"input": "28x28"})
    demitasse.save(state, "model.safetensors", metadata={"who": "me"})
    with pytest.raises(UsageError, match="metadata 'input': found 28x28"):
        demitasse.pack("model.safetensors", "model.demi", metadata={"input": "28x28"})
    assert not Path("model.demi").exists()
    with pytest.raises(FileFormatError, match="metadata 'input'"):
        preparation_in({"input": "28x28"})
