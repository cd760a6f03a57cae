"""The commands that make databases take Caffe's arguments."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from demitasse.caffe import schema
from demitasse.caffe.images import encode
from demitasse.caffe.sources.lmdb_store import LmdbReader
from demitasse.cli.data import register
from demitasse.errors import UsageError


def run(*arguments: object):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(path: Path) -> schema.Message:
    return schema.Datum.FromString(next(LmdbReader(str(path)).records())[1])


@pytest.mark.parametrize("command", ["convert_mnist_data", "convert_imageset"])
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


def test_convert_imageset(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(np.zeros((3, 4, 5), np.uint8), "png"))
    (tmp_path / "list").write_text("a.png 6\n")
    flags = ["--gray", "--shuffle", "--resize_height=2", "--resize_width=3", "--check_size", "--noencoded"]
    result = run("convert_imageset", *flags, f"{tmp_path}/", tmp_path / "list", tmp_path / "db")
    assert result.output == "Processed 1 files.\n"
    datum = read(tmp_path / "db")
    assert (datum.channels, datum.height, datum.width, datum.label) == (1, 2, 3, 6)


def test_leveldb_is_not_written(tmp_path: Path) -> None:
    result = run("convert_mnist_data", "i", "l", tmp_path / "db", "--backend=leveldb")
    assert isinstance(result.exception, UsageError)
    assert "only lmdb is written" in str(result.exception)
