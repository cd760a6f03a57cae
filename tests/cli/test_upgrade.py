"""The upgrade commands: arguments, files, exit codes, messages without a traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import read_model
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.cli import main

OLD = 'layers { name: "ip" type: INNER_PRODUCT bottom: "x" top: "ip" inner_product_param { num_output: 2 } }\n'
NEW = """layer {
  name: "ip"
  type: "InnerProduct"
  bottom: "x"
  top: "ip"
  inner_product_param {
    num_output: 2
  }
}
"""
WEIGHT = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.prototxt").write_text(OLD)
    Path("new.prototxt").write_text(NEW)
    Path("mixed.prototxt").write_text(OLD + NEW)
    Path("solver.prototxt").write_text('base_lr: 0.5 solver_type: ADAM net: "n"')
    Path("both.prototxt").write_text('type: "Adam" solver_type: ADAM')
    message = parse(OLD, NetParameter(), "net")
    message.layers[0].blobs.append(array_blob(WEIGHT))
    Path("old.caffemodel").write_bytes(message.SerializeToString())


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("source", "said"), [("old", "in the current form\n"), ("new", "already had the current form\n")]
)
def test_text(source: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upgrade_net_proto_text", f"{source}.prototxt", "out") == 0
    assert Path("out").read_text() == NEW
    printed = capsys.readouterr().out
    assert printed.startswith("out: written")
    assert printed.endswith(said)


def test_binary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("upgrade_net_proto_binary", "old.caffemodel", "out") == 0
    assert run("upgrade_net_proto_binary", "out", "again") == 0
    assert "out already had the current form" in capsys.readouterr().out
    assert Path("again").read_bytes() == Path("out").read_bytes()
    (layer,) = read_model("out")
    assert (layer.name, layer.type, layer.blobs[0].tolist()) == ("ip", "InnerProduct", WEIGHT.tolist())


def test_solver() -> None:
    assert run("upgrade_solver_proto_text", "solver.prototxt", "out") == 0
    assert Path("out").read_text() == 'base_lr: 0.5\nnet: "n"\ntype: "Adam"\n'


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("upgrade_net_proto_text", "gone", "out"), 2, "gone: cannot be read: No such file"),
        (
            ("upgrade_net_proto_text", "solver.prototxt", "out"),
            2,
            "solver.prototxt:1: 'base_lr' is a field of a solver",
        ),
        (("upgrade_net_proto_text", "mixed.prototxt", "out"), 2, "mixed.prototxt: the net has 1 'layers'"),
        (("upgrade_net_proto_binary", "gone", "out"), 1, "gone: cannot be read: No such file"),
        (("upgrade_net_proto_binary", "old.prototxt", "out"), 1, "old.prototxt: byte"),
        (("upgrade_net_proto_text", "old.caffemodel", "out"), 2, "old.caffemodel"),
        (("upgrade_solver_proto_text", "both.prototxt", "out"), 2, "type 'Adam' and the older solver_type (Adam)"),
        (("upgrade_solver_proto_text", "old.prototxt", "out"), 2, "old.prototxt:1: 'layers' is a field of a net"),
        (
            ("upgrade_net_proto_text", "old.prototxt", "gone/out"),
            1,
            "gone/out: cannot be written: there is no folder 'gone'",
        ),
        (("upgrade_net_proto_text", "old.prototxt"), 2, "Missing argument"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == code
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["net_proto_text", "net_proto_binary", "solver_proto_text"])
def test_without_arguments_says_how_it_is_used(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"upgrade_{command}") == 2
    assert f"Usage: demitasse upgrade_{command}" in "".join(capsys.readouterr())
