"""Every run of the original's conversion tools: what they wrote, what they printed, where they failed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from demitasse.caffe import schema
from demitasse.caffe.layer_rule import LayerRule
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.schema import dialects
from demitasse.caffe.tools import compact_file
from demitasse.caffe.tools.dns_to_normal import dns_to_normal
from demitasse.caffe.tools.inq_to_normal import inq_to_normal
from demitasse.caffe.tools.model2inq_raw import model2inq_raw
from demitasse.caffe.tools.parse_model import parse_model
from demitasse.errors import WeightsError
from tests.conftest import SHARED

ROOT = SHARED / "golden/convert"

# tool -> function and the names of its inputs, in order
TOOLS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "dns_to_normal": (dns_to_normal, ("net", "model", "target_net")),
    "inq_to_normal": (inq_to_normal, ("net", "model", "target_net")),
    "model2INQ_raw": (model2inq_raw, ("net", "model", "target_net")),
    "encode_compact": (partial(compact_file.encode, "4/4"), ("net", "model")),
    "encode_compact48": (partial(compact_file.encode, "4/8"), ("net", "model")),
    "dns_inq2compact": (partial(compact_file.encode, "4/4"), ("net", "model")),
    "sqznet_inq_compact": (partial(compact_file.encode, "squeezenet"), ("net", "model")),
    "dns_model_compress": (partial(compact_file.encode, "sparse"), ("net", "model")),
    "decode_compact": (partial(compact_file.decode, "4/4"), ("normal_net", "binary")),
    "decode_compact48": (partial(compact_file.decode, "4/8"), ("normal_net", "binary")),
}

# what the original printed for its own debugging
NOISE = ("shape of", "type of", "len of", "prototxt_file", "weights:")


def cases() -> list[Any]:
    found = sorted(ROOT.glob("*/*.json"))
    return [
        pytest.param(path, id=f"{path.parent.name}-{path.stem}") for path in found if path.parent.name != "parse_model"
    ]


def failed(case: dict[str, Any]) -> bool:
    # the dense encoder printed its error and went on to exit with 0
    return case["exit_status"] != 0 or any("Error" in line for line in case["printed"])


@pytest.mark.parametrize("path", cases())
def test_case(path: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = json.loads(path.read_text())
    tool, inputs = TOOLS[case["tool"]]
    files = [(path.parent / case["inputs"][name]).resolve() for name in inputs]
    out = tmp_path / "out"
    said: list[str] = []
    run = partial(tool, *files, out, rule=LayerRule.ORIGINAL, say=said.append)
    # the nets name their data relative to their own folder
    net = case["inputs"].get("target_net", case["inputs"].get("normal_net", "."))
    monkeypatch.chdir((path.parent / net).parent)
    if failed(case):
        with pytest.raises(WeightsError, match=r"layer '\w+' (weight|bias): "):
            run()
        assert list(tmp_path.iterdir()) == []
        return
    run()
    expected = path.parent / case["outputs"][0].split()[0]
    if expected.suffix == ".caffemodel":
        compare_models(out, expected)
    else:
        assert out.read_bytes() == expected.read_bytes()
    assert_said(case["printed"], "\n".join(said).split("\n"), case["outputs"][0], str(out))


def compare_models(found: Path, expected: Path) -> None:
    ours, theirs = read_model(found), read_model(expected)
    assert [(layer.name, layer.type) for layer in ours] == [(layer.name, layer.type) for layer in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert [blob.shape for blob in our.blobs] == [blob.shape for blob in their.blobs]
        if LayerRule.ORIGINAL.takes(our.name, our.type):
            for a, b in zip(our.blobs, their.blobs, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=our.name)


def assert_said(recorded: list[str], said: list[str], name: str, out: str) -> None:
    """Each recorded line must have been said, in this order; further lines may stand between them."""
    lines = iter([normal(line, out) for line in said])
    for line in recorded:
        if line.strip() and not line.startswith(NOISE):
            assert normal(line, name) in lines, line


def normal(line: str, out: str) -> str:
    line = re.sub(r"(\d+\.\d+|T) (seconds|s\b)", "T s", line).replace(out, "OUT")
    return re.sub(r"\S+48\.(caffemodel|binary)|decoded\S*\.caffemodel \(byte.*", "OUT", line).strip()


@pytest.mark.parametrize("binary", ["compact", "compact48"])
@pytest.mark.parametrize("name", sorted(p.parent.name for p in ROOT.glob("*/compact.binary")))
def test_decoding_gives_back_what_was_encoded(
    name: str, binary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = json.loads((ROOT / name / f"encode_{binary}.json").read_text())
    files = {key: (ROOT / name / path).resolve() for key, path in case["inputs"].items()}
    monkeypatch.chdir(files["normal_net"].parent)
    codec = {"compact": "4/4", "compact48": "4/8"}[binary]
    encoded = ROOT / name / f"{binary}.binary"
    compact_file.decode(codec, files["normal_net"], encoded, tmp_path / "out", LayerRule.ORIGINAL)
    source = {layer.name: layer for layer in read_model(files["model"])}
    for layer in read_model(tmp_path / "out"):
        if layer.blobs and LayerRule.ORIGINAL.takes(layer.name, layer.type):
            for a, b in zip(layer.blobs, source[layer.name].blobs, strict=False):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("model", "text"), [("tiny.caffemodel", "tiny.txt"), ("../../data/store.caffemodel", "store.txt")]
)
def test_parse_model(model: str, text: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden/convert/parse_model"
    said: list[str] = []
    parse_model(folder / model, tmp_path / text, said.append)
    ours, theirs = (
        text_format.Parse((where / text).read_text(), schema.text_message("NetParameter")())
        for where in (tmp_path, folder)
    )
    assert ours == theirs
    assert said[0] == "Parsing binary caffemodel ..."


def test_parsed_text_is_the_whole_model(shared: Path, tmp_path: Path) -> None:
    model = shared / "golden/convert/parse_model/tiny.caffemodel"
    parse_model(model, tmp_path / "text")
    parsed = text_format.Parse((tmp_path / "text").read_text(), schema.text_message("NetParameter")())
    again = dialects.to_file_numbers(parsed.SerializeToString())
    assert len(again) == len(model.read_bytes())


@pytest.mark.parametrize(("name", "codec"), [("lenet5_encode_compact", "4/4"), ("lenet5_encode_compact48", "4/8")])
def test_published_files_survive_a_round_trip(name: str, codec: str, shared: Path) -> None:
    from demitasse.packed.compact import decode, encode

    shapes = {
        "conv1": [(20, 1, 5, 5), (20,)],
        "conv2": [(50, 20, 5, 5), (50,)],
        "ip1": [(500, 800), (500,)],
        "ip2": [(10, 500), (10,)],
    }
    data = (shared / f"models/compact/{name}.binary").read_bytes()
    assert encode(codec, decode(codec, data, shapes)) == data
