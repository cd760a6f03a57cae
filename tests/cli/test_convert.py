"""The conversion commands: positional arguments, exit codes, messages without a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model, write_net_message
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.cli import main

NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "last" type: "InnerProduct" bottom: "data" top: "last" inner_product_param { num_output: 2 } }
"""
DNS_NET = NET.replace('"Inner', '"DNSInner')
WEIGHT = np.array([[1, 0, 0, -0.5], [0.25, 0, 0, 1]], np.float32)
BIAS = np.array([0, 0.5], np.float32)

COMMANDS = [
    "dns_to_normal",
    "inq_to_normal",
    "model2INQ_raw",
    "parse_model",
    "encode_compact",
    "decode_compact",
    "encode_compact48",
    "decode_compact48",
    "dns_inq2compact",
    "sqznet_inq_compact",
    "sqznet_inq_decompact",
    "dns_model_compress",
    "dns_decompress",
    "deep_compression_to_caffe",
]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ones = [np.ones_like(WEIGHT), np.ones_like(BIAS)]
    for name, text, blobs in (("net", NET, [WEIGHT, BIAS]), ("dns", DNS_NET, [WEIGHT, BIAS, *ones])):
        Path(f"{name}.prototxt").write_text(text)
        message = parse(text, NetParameter(), name)
        message.layer[1].blobs.extend(map(array_blob, blobs))
        write_net_message(message, f"{name}.caffemodel")
    portions = "inq_inner_product_param { portion: 0 portion: 1 } inner_product_param"
    Path("inq.prototxt").write_text(NET.replace('"Inner', '"INQInner').replace("inner_product_param", portions))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def weights(path: str) -> list[list[float]]:
    return [blob.reshape(-1).tolist() for blob in read_model(path)[1].blobs]


@pytest.mark.parametrize("command", COMMANDS)
def test_without_arguments_says_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 2
    printed = "".join(capsys.readouterr())
    assert f"Usage: demitasse {command}" in printed
    assert re.search(r"\bout\b.* to write", printed, re.IGNORECASE)


@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        ("encode_compact", "decode_compact"),
        ("dns_inq2compact", "decode_compact"),
        ("encode_compact48", "decode_compact48"),
        ("sqznet_inq_compact", "sqznet_inq_decompact"),
        ("dns_model_compress", "dns_decompress"),
    ],
)
def test_pack_and_unpack(encode: str, decode: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(encode, "net.prototxt", "net.caffemodel", "packed") == 0
    assert "compact model saved as packed" in capsys.readouterr().out
    assert run(decode, "net.prototxt", "packed", "out.caffemodel") == 0
    assert "Model decoded. Saved as out.caffemodel" in capsys.readouterr().out
    assert weights("out.caffemodel") == weights("net.caffemodel")


def test_converters(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dns_to_normal", "dns.prototxt", "dns.caffemodel", "net.prototxt", "out") == 0
    assert weights("out") == weights("net.caffemodel")
    assert "last layer w: 8/8 (100.000000 %) kept" in capsys.readouterr().out
    assert run("model2INQ_raw", "net.prototxt", "net.caffemodel", "inq.prototxt", "raw", "--zeros-are-pruned") == 0
    assert weights("raw")[2:] == [[1, 0, 0, 1, 1, 0, 0, 1], [0, 1]]
    assert run("inq_to_normal", "inq.prototxt", "raw", "net.prototxt", "out") == 0
    assert weights("out") == weights("net.caffemodel")
    assert run("parse_model", "raw", "text") == 0
    assert 'type: "INQInnerProduct"' in Path("text").read_text()


def test_layers_by_name_leave_others_out() -> None:
    assert run("encode_compact", "net.prototxt", "net.caffemodel", "packed", "--layers", "original") == 0
    assert Path("packed").read_bytes() == b""
    assert run("encode_compact", "net.prototxt", "net.caffemodel", "packed", "-layers=type") == 0
    assert len(Path("packed").read_bytes()) == 2 * 68 + 4 + 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("encode_compact", "net.prototxt", "gone", "out"), 1, "gone: cannot be read: No such file"),
        (("encode_compact", "gone", "net.caffemodel", "out"), 2, "gone: cannot be read: No such file"),
        (("encode_compact", "net.prototxt", "net.prototxt", "out"), 1, "net.prototxt: "),
        (
            ("encode_compact", "net.prototxt", "net.caffemodel", "gone/out"),
            1,
            "gone/out: cannot be written: there is no folder 'gone'",
        ),
        (("decode_compact", "net.prototxt", "net.caffemodel", "out"), 1, "net.caffemodel: byte 0: layer 'last'"),
        (
            ("dns_to_normal", "net.prototxt", "dns.caffemodel", "net.prototxt", "out"),
            1,
            "layer 'last' (DNSInnerProduct) has masks",
        ),
        (("encode_compact", "net.prototxt", "net.caffemodel", "out", "--layers", "all"), 2, "'all' is not one of"),
        (("encode_compact", "net.prototxt", "net.caffemodel"), 2, "Missing argument"),
        (("deep_compression_to_caffe", "net.prototxt", "net.caffemodel", "out"), 1, "net.caffemodel: byte 0"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not Path("out").exists()
