"""What the command prints of errors that have no words of their own, or that a terminal cannot show."""

from __future__ import annotations

import os
import traceback
import warnings
from pathlib import Path

import pytest

from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.text import prototxt
from demitasse.cli import main
from demitasse.errors import DemitasseError


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "error: out of memory: the command needs more memory than this machine has\n"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            "error: out of memory: Default",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "error: out of memory: CUDA"),
    ],
)
def test_out_of_memory_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(path: object) -> None:
        raise error

    monkeypatch.setattr(prototxt, "read_net", fail)
    code, printed = failing(capsys, "time", "-model=net.prototxt")
    assert code == 1
    assert message in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--seed", "1.5"], "--seed: expected a whole number, found '1.5'"),
        (["demo", "--seed=-1"], "--seed: expected 0 or more, found '-1'"),
        (["sensitivity", "x", "--tolerance", "x"], "--tolerance: expected a number, found 'x'"),
        (["time", "-model=x", "-iterations=ten"], "--iterations: expected a whole number, found 'ten'"),
        (["train", "-solver=x", "--cpu=0x"], "--cpu: expected a whole number, found '0x'"),
        (["time", "-model=x", "-level=9999999999"], "--level: expected 2147483647 or less, found '9999999999'"),
        (
            ["train", "-solver=x", "-cpu=99999999999999999999"],
            "--cpu: expected 1024 or less, found '99999999999999999999'",
        ),
        (["demo", "--sed=1"], "No such option: --sed; did you mean '--seed'?"),
    ],
)
def test_what_is_wrong_with_a_flag(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, printed = failing(capsys, *arguments)
    assert code == 2
    assert printed == f"error: {message}\nTry 'demitasse {arguments[0]} --help' for help.\n"


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes are POSIX's")
def test_a_path_that_is_not_utf_8_is_shown_as_it_can_be(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = f"{tmp_path}/\udcff.prototxt"
    code, printed = failing(capsys, "time", f"-model={path}")
    assert code == 2
    assert printed.endswith(f"error: {tmp_path}/\\udcff.prototxt: cannot be read: No such file or directory\n")
    try:
        Path(path).write_text('layer { name: "a" type: "Inputt" }')
    except OSError:
        pytest.skip("the file system takes names of UTF-8 alone")
    code, printed = failing(capsys, "time", f"-model={path}")
    assert code == 2
    assert "\\udcff.prototxt:1): unknown layer type 'Inputt'; did you mean 'Input'?" in printed


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes are POSIX's")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-solver=\udcff/solver.prototxt",), "snapshot_prefix '\\udcff/solver' is not UTF-8"),
        (
            ("-solver=solver.prototxt", "-weights=\udcff.caffemodel"),
            "-weights='\\udcff.caffemodel': the name is not UTF-8",
        ),
    ],
)
def test_training_in_a_folder_that_is_not_utf_8_is_refused_before_it_begins(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (".", "\udcff"):
        try:
            Path(folder).mkdir(exist_ok=True)
        except OSError:
            pytest.skip("the file system takes names of UTF-8 alone")
        Path(folder, "solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1')
    code, printed = failing(capsys, "train", *arguments)
    assert code in (1, 2)
    assert message in printed


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_plain_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prototxt, "read_net", lambda path: warnings.warn("the net is odd", stacklevel=1))
    _, printed = failing(capsys, "time", "-model=net.prototxt")
    assert "\nwarning: the net is odd\n" in f"\n{printed}"
    assert "UserWarning" not in printed


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns what a command prints with --debug, traceback and all."""
    with pytest.raises(DemitasseError) as caught:
        main([*arguments, "--debug"])
    capsys.readouterr()
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "message", "first"),
    [
        (
            'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 '
            'weight_filler { type: "gaussian" std: -1 } } }',
            "gaussian cannot fill a blob of shape [2, 4]: normal expects std >= 0.0, but found std -1",
            "RuntimeError: normal expects std",
        ),
        (
            'layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 1 '
            "kernel_size: 5 } }",
            "Convolution cannot take bottoms of shape [1, 1, 2, 2]",
            "RuntimeError: Calculated padded input size",
        ),
    ],
)
def test_debug_shows_where_an_error_comes_from(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, message: str, first: str
) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }\n' + text
    )
    code, printed = failing(capsys, "time", f"-model={net}")
    assert code == 2
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert f"{net}:2" in line
    assert "Traceback" not in printed
    chain = shown(capsys, "time", f"-model={net}")
    assert "The above exception was the direct cause of the following exception" in chain
    assert first in chain
    assert chain.rstrip().splitlines()[-1].endswith(line.removeprefix("error: "))
    assert message in line


def test_a_fault_of_the_program_is_not_the_nets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: object, *shapes: object) -> None:
        raise ValueError("a mistake in the layer's code")

    monkeypatch.setattr(InnerProduct, "setup", wrong)
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n'
        'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }'
    )
    code, printed = failing(capsys, "time", f"-model={net}")
    assert code == 1
    assert printed.endswith(
        "internal error: ValueError: a mistake in the layer's code\nRun again with --debug to see the traceback.\n"
    )


def test_names_of_files_send_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = failing(capsys, "report", "none\x1b[31m\r\x07.demi", "--out=page.html")
    assert code == 1
    assert printed == "error: none\\x1b[31m\\r\\x07.demi: cannot be read: No such file or directory\n"
