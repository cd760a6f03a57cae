"""pack, unpack and inspect: what they print, their exit codes, messages without a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from demitasse.caffe.images.mean import write_mean
from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model, write_net_message
from demitasse.caffe.net import Net
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.caffe.weights import load_weights
from demitasse.cli import main
from demitasse.packed.file import File

NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "last" type: "InnerProduct" bottom: "data" top: "last" inner_product_param { num_output: 2 } }
"""
WEIGHT = np.array([[1, 0, 0, -0.5], [0.25, 0, 0, 1]], np.float32)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    message = parse(NET, NetParameter(), "net")
    message.layer[1].blobs.extend(map(array_blob, [WEIGHT, np.float32([0, 0.5])]))
    write_net_message(message, "net.caffemodel")
    torch.save({"w": torch.ones(3)}, "net.pt")
    assert run("pack", "net.caffemodel", "net.demi") == 0


IMAGES = NET.replace("dim: 4", "dim: 3 dim: 6 dim: 8")


def nested() -> None:
    state = {"module.w": torch.ones(3)}
    torch.save({"epoch": 3, "state_dict": state, "best": {"w": torch.zeros(3)}}, "nested.pt")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.mark.parametrize("command", ["pack", "unpack", "inspect"])
def test_without_arguments_says_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 2
    assert f"Usage: demitasse {command}" in "".join(capsys.readouterr())


def test_what_they_print(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("pack", "net.caffemodel", "net.demi") == 0
    size = Path("net.demi").stat().st_size
    assert capsys.readouterr().out == f"net.demi: 2 tensors, 40 -> {size} bytes, {40 / size:.1f}x\n"
    assert run("unpack", "net.demi", "out.caffemodel") == 0
    assert capsys.readouterr().out == f"out.caffemodel: {Path('out.caffemodel').stat().st_size} bytes\n"
    assert np.array_equal(read_model("out.caffemodel")[0].blobs[0], WEIGHT)


def test_through_a_compact_file_with_definition_and_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("encode_compact48", "net.prototxt", "net.caffemodel", "net.bin") == 0
    options = ("--net", "net.prototxt", "--format", "4/8", "--definition", "--metadata", "made=here", "-signed-zeros")
    assert run("pack", "net.bin", "all.demi", *options, "--smallest") == 0
    with File("all.demi") as file:
        assert file.header.metadata == {
            "caffe": "InnerProduct",
            "compact": "4/8",
            "made": "here",
            "definition": NET,
            "graph": '{"inputs":{"data":[1,4]},"steps":[["InnerProduct","last"]]}',
        }
    capsys.readouterr()
    Path("net.prototxt").unlink()
    assert run("unpack", "all.demi", "back.bin") == 0
    assert capsys.readouterr().out.startswith("metadata that back.bin cannot store: made\n")
    assert Path("back.bin").read_bytes() == Path("net.bin").read_bytes()
    assert run("unpack", "all.demi", "whole.caffemodel", "--definition") == 0
    assert Path("whole.prototxt").read_text() == NET
    assert [layer.name for layer in read_model("whole.caffemodel")] == ["data", "last"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--mean=104,117,123 --size=16", "bgr 16x16:6x8 104,117,123"),
        ("--size=9x10 --crop=6,8 --scale=0.5,1,2 --channels=rgb", "rgb 9x10:6x8 0 0.5,1,2"),
        ("--mean=mean.npy -scale=1e-3", "bgr 6x8 0,1,2 0.001"),
        ("--mean=mean.binaryproto", "bgr 6x8 0,1,2"),
        ("--mean=-3", "bgr 6x8 -3"),
    ],
)
def test_how_images_are_prepared(options: str, expected: str) -> None:
    Path("net.prototxt").write_text(IMAGES)
    mean = np.arange(3.0)[:, None, None] * np.ones((3, 4, 5), np.float32)
    np.save("mean.npy", mean)
    write_mean("mean.binaryproto", mean)
    Path("names.txt").write_bytes("\ufeffa cat\r\nkwa\u015bny\r\n".encode())
    assert run("pack", "net.caffemodel", "out.demi", "--net=net.prototxt", "--classes=names.txt", *options.split()) == 0
    with File("out.demi") as file:
        texts = file.header.metadata
    assert (texts["input"], texts["classes"]) == (expected, "a cat\nkwa\u015bny")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--size=16x", 2, "--size 16x: expected height and width, such as 256x256, or one number for both"),
        ("--size=1x2x3", 2, "--size 1x2x3: expected height and width"),
        ("--crop=-1", 2, "--crop -1: expected height and width"),
        ("--size=1000000000000", 2, "size is (100000000"),
        ("--scale=fast", 2, "--scale fast: expected numbers, separated by commas"),
        ("--scale=nan", 2, "scale is (nan,); expected a finite number"),
        ("--mean=1,2", 2, "net.prototxt: mean is (1.0, 2.0); expected a finite number, or 3 of them"),
        ("--mean=gone.npy", 1, "gone.npy: cannot be read: No such file"),
        ("--mean=net.pt", 1, "net.pt"),
        ("--channels=gray", 2, "channels is 'gray'; did you mean 'grey'?"),
        ("--channels=grey", 2, "channels is 'grey'; the net takes bgr"),
        ("--classes=gone.txt", 1, "gone.txt: cannot be read"),
        ("--classes=empty.txt", 1, "empty.txt: found no names; expected one a line"),
        ("--classes=gap.txt", 2, "class 1 is called ''"),
        ("--metadata=input=red", 2, "found red: expected 'channels size[:crop] [mean [scale]]'"),
    ],
)
def test_images_that_cannot_be_prepared(
    options: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.prototxt").write_text(IMAGES)
    Path("empty.txt").touch()
    Path("gap.txt").write_text("a\n\nb\n")
    assert run("pack", "net.caffemodel", "out.demi", "--net=net.prototxt", "--definition", options) == code
    assert message in capsys.readouterr().err
    assert not Path("out.demi").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("pack", "gone.pt", "out.demi"), 1, "gone.pt: there is no such file"),
        (("pack", "gone.caffemodel", "out.demi"), 1, "gone.caffemodel: cannot be read: No such file"),
        (
            ("pack", "net.caffemodl", "out.demi"),
            2,
            "unknown suffix '.caffemodl'; did you mean '.caffemodel'?",
        ),
        (("pack", "net", "out.demi"), 2, "net: the name has no suffix; expected .demi or .caffemodel"),
        (("pack", "net.demi", "out.demi"), 2, "net.demi: this is a .demi file; expected a file of another format"),
        (("pack", "net.pt", "out.pt"), 2, "out.pt: the name of the file to write must end in '.demi'"),
        (("pack", "net.pt", "out.demi", "--format", "4/9"), 2, "unknown format '4/9'; did you mean '4/"),
        (("pack", "net.pt", "out.demi", "--format", "safetensors"), 1, "net.pt: cannot be read as .safetensors"),
        (("pack", "net.caffemodel", "out.demi", "--format", "pt"), 1, "net.caffemodel: cannot be read as .pt"),
        (("pack", "net.pt", "out.demi", "--format", "caffemodel"), 1, "net.pt: byte"),
        (("pack", "net.pt", "out.demi", "--format", "4/8"), 2, "give the net's prototxt by --net"),
        (("pack", "net.pt", "out.demi", "--format", "4/8", "--net", "net.prototxt"), 1, "net.pt: byte 0: layer 'last'"),
        (("pack", "net.pt", "out.demi", "--definition"), 2, "give it by --net"),
        (("pack", "net.pt", "out.demi", "--definition", "--net", "net.caffemodel"), 2, "not a text file"),
        (("pack", "net.pt", "out.demi", "--metadata", "who"), 2, "--metadata 'who': expected key=value"),
        (("pack", "net.pt", "out.demi", "--metadata", "caffe=no"), 2, "metadata 'caffe': the key is reserved"),
        (("pack", "net.pt", "gone/out.demi"), 1, "gone/out.demi: cannot be written: there is no folder 'gone'"),
        (("unpack", "gone.demi", "out.pt"), 1, "gone.demi: there is no such file"),
        (("unpack", "net.pt", "out.pt"), 1, "not a .demi file"),
        (("unpack", "net.demi", "out.pd"), 2, "out.pd: unknown suffix '.pd'; did you mean '.pt'?"),
        (("unpack", "net.demi", "out.pt", "--definition"), 2, "net.demi: contains no definition of the net"),
        (("inspect", "net.pt"), 1, "not a .demi file"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not list(Path().rglob("*out*"))


def test_every_cut_of_a_packed_file_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path("net.demi").read_bytes()
    for length in range(0, len(data), 3):
        Path("cut.demi").write_bytes(data[:length])
        for command in (("unpack", "cut.demi", "out.pt"), ("inspect", "cut.demi")):
            assert run(*command) == 1
            assert capsys.readouterr().err.startswith("error: cut.demi: ")
    assert not Path("out.pt").exists()


HIDDEN = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "first" type: "InnerProduct" bottom: "data" top: "first" inner_product_param { num_output: 5 } }
layer { name: "relu" type: "ReLU" bottom: "first" top: "first" }
layer { name: "last" type: "InnerProduct" bottom: "first" top: "last" inner_product_param { num_output: 2 } }
"""


def test_hidden_units_are_reordered_and_dead_ones_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(5, 4)), rng.normal(size=(2, 5))
    first[3], last[:, 1] = 0, 0
    Path("hidden.prototxt").write_text(HIDDEN)
    message = parse(HIDDEN, NetParameter(), "hidden")
    message.layer[1].blobs.extend(map(array_blob, [first.astype(np.float32), np.float32([1, 2, 3, 0, 4])]))
    message.layer[3].blobs.extend(map(array_blob, [last.astype(np.float32), np.float32([0, 1])]))
    write_net_message(message, "hidden.caffemodel")
    options = ("--net", "hidden.prototxt", "--reorder", "--remove-dead-units")
    assert run("pack", "hidden.caffemodel", "hidden.demi", *options) == 2
    assert "store it in the file by --definition" in capsys.readouterr().err
    assert run("pack", "hidden.caffemodel", "hidden.demi", "--reorder") == 2
    assert "give its prototxt by --net" in capsys.readouterr().err
    assert run("pack", "hidden.caffemodel", "hidden.demi", *options, "--definition") == 0
    assert run("unpack", "hidden.demi", "small.caffemodel", "--definition") == 0
    images = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = {}
    for name in ("small", "hidden"):
        net = Net.from_file(f"{name}.prototxt").double().eval()
        load_weights(net, f"{name}.caffemodel")
        found[name] = net({"data": images})["last"]
    assert torch.allclose(found["small"], found["hidden"], atol=1e-12)
    assert [layer.blobs[0].shape for layer in read_model("small.caffemodel") if layer.blobs] == [(3, 4), (2, 3)]


def test_a_checkpoint_of_several_state_dicts() -> None:
    nested()
    for arguments, sum_of_w in (((), 3), (("--key", "best"), 0)):
        assert run("pack", "nested.pt", "nested.demi", *arguments) == 0
        with File(Path("nested.demi")) as file:
            assert file.names == ["w"]
            assert file.tensor("w").array().sum() == sum_of_w


def test_a_key_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    nested()
    assert run("pack", "nested.pt", "nested.demi", "--key", "worst") == 2
    assert "no state_dict under 'worst'; found 'state_dict', 'best'" in capsys.readouterr().err
    assert run("pack", "net.caffemodel", "nested.demi", "--key", "best") == 2
    assert "files of format caffemodel have no keys, found key 'best'" in capsys.readouterr().err


def test_messages_stay_out_of_standard_output() -> None:
    command = [sys.executable, "-m", "demitasse", "unpack", "net.demi", "/dev/stdout", "--format", "pt"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert torch.load(io.BytesIO(done.stdout))["last.1"].tolist() == [0, 0.5]
    assert b"/dev/stdout: written" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_path_that_is_not_utf_8(capsys: pytest.CaptureFixture[str]) -> None:
    name = os.fsdecode(b"n\xff.demi")
    assert run("pack", "net.caffemodel", name) == 0
    assert os.path.exists(b"n\xff.demi")
    command = [sys.executable, "-m", "demitasse", "pack", "net.caffemodel", name]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.stdout.startswith(b"n\\udcff.demi: 2 tensors")
    capsys.readouterr()
    assert run("inspect", os.fsdecode(b"m\xff.demi")) == 1
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "error: out of memory: the command needs more memory than this machine has\n"),
        (RuntimeError("[x] DefaultCPUAllocator: can't allocate memory: 4 bytes"), "error: out of memory: [x] Default"),
    ],
)
def test_out_of_memory_says_so(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("demitasse.formats.pack", fail)
    assert run("pack", "net.caffemodel", "x.demi") == 1
    assert capsys.readouterr().err.startswith(message)
