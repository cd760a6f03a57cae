"""The commands that make databases take Caffe's arguments."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from demitasse.caffe import schema
from demitasse.caffe.images.codec import encode
from demitasse.caffe.images.mean import read_mean
from demitasse.caffe.net import Net
from demitasse.caffe.sources.lmdb_store import LmdbReader, write_lmdb
from demitasse.caffe.sources.store import BACKENDS
from demitasse.caffe.weights import save_weights
from demitasse.cli.data import register
from demitasse.errors import UnknownNameError, UsageError


def run(*arguments: object):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(path: Path) -> schema.Message:
    return schema.Datum.FromString(next(LmdbReader(str(path)).records())[1])


@pytest.mark.parametrize("command", ["convert_mnist_data", "convert_imageset", "create_annoset"])
def test_without_arguments_the_usage_is_printed(command: str) -> None:
    result = run(command)
    assert result.exit_code == 2
    assert f"{command} [OPTIONS]" in result.output


def test_convert_mnist_data(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 1, 2, 2) + b"abcd")
    (tmp_path / "l").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 1) + b"\x05")
    result = run("convert_mnist_data", tmp_path / "i", tmp_path / "l", tmp_path / "db", "--backend=lmdb")
    assert result.output == "Processed 1 files.\n"
    assert (read(tmp_path / "db").data, read(tmp_path / "db").label) == (b"abcd", 5)


def test_convert_mnist_siamese_data(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 1, 2, 2) + b"abcd")
    (tmp_path / "l").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 1) + b"\x05")
    result = run("convert_mnist_siamese_data", tmp_path / "i", tmp_path / "l", tmp_path / "db", "--seed=3")
    assert result.output == "Processed 1 files.\n"
    assert (read(tmp_path / "db").data, read(tmp_path / "db").label) == (b"abcdabcd", 1)


def test_convert_cifar_data(tmp_path: Path) -> None:
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        (tmp_path / name).write_bytes(b"\x07" + bytes(3072))
    result = run("convert_cifar_data", tmp_path, tmp_path / "out")
    train, test = tmp_path / "out" / "cifar10_train_lmdb", tmp_path / "out" / "cifar10_test_lmdb"
    assert result.output.splitlines() == [f"{train}: processed 5 files.", f"{test}: processed 1 files."]
    assert read(test).label == 7


def test_convert_imageset(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(np.zeros((3, 4, 5), np.uint8), "png"))
    (tmp_path / "list").write_text("a.png 6\n")
    flags = ["--gray", "--shuffle", "--resize_height=2", "--resize_width=3", "--check_size", "--noencoded"]
    result = run("convert_imageset", *flags, f"{tmp_path}/", tmp_path / "list", tmp_path / "db")
    assert result.output == "Processed 1 files.\n"
    datum = read(tmp_path / "db")
    assert (datum.channels, datum.height, datum.width, datum.label) == (1, 2, 3, 6)


def test_create_annoset(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(np.zeros((3, 10, 20), np.uint8), "png"))
    (tmp_path / "a.txt").write_text("3 2 4 12 8\n")
    (tmp_path / "list").write_text("a.png a.txt\n")
    (tmp_path / "map").write_text('item { name: "cup" label: 3 }')
    # as SSD's scripts call it
    flags = ["--anno-type=detection", "--label-type=txt", f"--label-map-file={tmp_path / 'map'}", "--min-dim=0"]
    flags += ["--max-dim=0", "--resize-width=0", "--resize-height=0", "--check-label", "--encode-type=jpg", "--encoded"]
    arguments = [*flags, "--redo", tmp_path, tmp_path / "list", tmp_path / "db", tmp_path / "examples"]
    for _ in range(2):
        result = run("create_annoset", *arguments)
        assert result.output == f"Processed 1 files.\n{tmp_path / 'examples' / 'db'} is a link to them.\n"
    message = schema.AnnotatedDatum.FromString(next(LmdbReader(str(tmp_path / "examples" / "db")).records())[1])
    assert message.datum.data[:2] == b"\xff\xd8"
    box = message.annotation_group[0].annotation[0].bbox
    assert np.allclose((box.xmin, box.ymin, box.xmax, box.ymax), (0.1, 0.4, 0.6, 0.8))


@pytest.mark.leveldb
@pytest.mark.parametrize("command", ["convert_mnist_data", "convert_imageset"])
def test_leveldb(command: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(np.zeros((1, 2, 2), np.uint8), "png"))
    (tmp_path / "list").write_text("a.png 5\n")
    (tmp_path / "i").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 1, 2, 2) + bytes(4))
    (tmp_path / "l").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 1) + b"\x05")
    inputs = {"convert_mnist_data": ("i", "l"), "convert_imageset": ("", "list")}[command]
    flags = ["--backend=leveldb", *(["--gray"] if command == "convert_imageset" else [])]
    assert run(command, *flags, *(f"{tmp_path}/{name}" for name in inputs), tmp_path / "db").exit_code == 0
    with BACKENDS["leveldb"].open(str(tmp_path / "db")) as reader:
        ((_, value),) = reader.records()
    datum = schema.Datum.FromString(value)
    assert (datum.data, datum.label) == (bytes(4), 5)


def test_an_unknown_backend(tmp_path: Path) -> None:
    result = run("compute_image_mean", tmp_path / "db", "--backend=levledb")
    assert isinstance(result.exception, UnknownNameError)
    assert "did you mean 'leveldb'?" in str(result.exception)


def database(path: Path) -> Path:
    datums = [schema.Datum(channels=2, height=1, width=2, data=bytes([i, i + 1, 10, 20])) for i in (0, 4)]
    write_lmdb(path, ((b"%d" % index, datum.SerializeToString()) for index, datum in enumerate(datums)))
    return path


def test_compute_image_mean(tmp_path: Path) -> None:
    result = run("compute_image_mean", database(tmp_path / "db"), tmp_path / "mean")
    assert result.output.splitlines() == [
        "Processed 2 files.",
        "Number of channels: 2",
        "mean_value channel [0]: 2.5",
        "mean_value channel [1]: 15",
    ]
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), np.float32([[[2, 3]], [[10, 20]]]))


NET = """layer {{ name: "d" type: "Data" top: "data" data_param {{ source: "{}" batch_size: 2 backend: LMDB }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "constant" value: 1 }} }} }}"""


def test_extract_features(tmp_path: Path) -> None:
    (tmp_path / "net").write_text(NET.format(database(tmp_path / "db")))
    save_weights(Net.from_file(tmp_path / "net"), tmp_path / "weights")
    places = f"{tmp_path}/one,{tmp_path}/two"
    result = run("extract_features", tmp_path / "weights", tmp_path / "net", "ip,data", places, 1, "lmdb", "CPU")
    assert result.output.splitlines()[-1] == "Extracted features of 2 images."
    with BACKENDS["lmdb"].open(f"{tmp_path}/one") as one, BACKENDS["lmdb"].open(f"{tmp_path}/two") as two:
        rows, images = ([schema.Datum.FromString(value) for _, value in reader.records()] for reader in (one, two))
        assert [key for key, _ in one.records()] == [b"0000000000", b"0000000001"]
    assert [list(row.float_data) for row in rows] == [[31] * 3, [39] * 3]
    assert (images[1].channels, images[1].height, images[1].width) == (2, 1, 2)
    assert list(images[1].float_data) == [4, 5, 10, 20]


@pytest.mark.parametrize(
    ("blobs", "databases", "mode", "message"),
    [
        ("ip", "a,b", "CPU", "found 2 databases for 1 blobs; expected one for each"),
        ("ipp", "a", "CPU", "no blob 'ipp'; did you mean 'ip'?"),
        ("ip", "a", "TPU", "MODE is 'TPU'; expected CPU or GPU"),
    ],
)
def test_extract_features_refuses(blobs: str, databases: str, mode: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "net").write_text(NET.format(database(tmp_path / "db")))
    result = run("extract_features", "weights", tmp_path / "net", blobs, databases, 1, "lmdb", mode)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
