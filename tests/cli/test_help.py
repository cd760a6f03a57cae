"""What demitasse shows of itself, and how it names what is wrong on a command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from demitasse.cli import FAMILIES, build, main

COMMANDS = get_command(build()).commands  # type: ignore[attr-defined]
# verbs in the third person, such as "Packs"; "Does" and "Process" are not
THIRD_PERSON = re.compile(r"[A-Z][a-z]+[^s]s\b")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.mark.parametrize("width", ["80", "200"])
def test_commands_are_shown_whole_and_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert run() == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= int(width)
    titles = [found[1].strip() for line in shown.splitlines() if (found := re.match("╭─ ([^─]*)─", line))]
    assert titles == [
        *("Options", "Compress a PyTorch model", "Files", "Caffe: train and test", "Caffe: convert"),
        *("Caffe: compact files", "Caffe: data", "Caffe: look", "More"),
    ]
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())
    assert "..." not in words.partition("Compress a PyTorch model")[2]
    for name, command in COMMANDS.items():
        about = " ".join((command.help or "").split("\n\n")[0].split())
        assert f"{name} {about}" in words


def test_commands_are_said_in_the_imperative() -> None:
    assert [name for name, command in COMMANDS.items() if THIRD_PERSON.match(command.help or "")] == []
    assert [name for name, command in COMMANDS.items() if not re.match(r"[A-Z].*\.$", command.help or "", re.S)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(name, "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert f"Usage: demitasse {name}" in shown
    assert "<bool>" not in shown
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", shown).split())
    for flag in (flag for option in COMMANDS[name].params for flag in option.opts if flag.startswith("--")):
        assert flag in words


NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "last" type: "InnerProduct" bottom: "data" top: "last" inner_product_param { num_output: 2 } }
"""
READ_TWO = ["dns_to_normal", "inq_to_normal", "model2INQ_raw", "encode_compact", "dns_model_compress", "export"]
READ_ONE = ["pack", "unpack", "inspect", "parse_model", "upgrade_net_proto_text", "upgrade_net_proto_binary"]
READ_ONE += ["upgrade_solver_proto_text", "draw_net", "parse_log", "plot_log", "classify", "detect", "export"]
READ_ONE += [
    "convert_mnist_siamese_data",
    "convert_cifar_data",
    "convert_imageset",
    "convert_mnist_data",
    "compute_image_mean",
    "extract_features",
    "decode_compact",
]


@pytest.mark.parametrize("name", READ_ONE)
def test_a_missing_file_is_named_before_missing_arguments(
    capsys: pytest.CaptureFixture[str], name: str, own_folder: None
) -> None:
    assert run(name, "gone.file") in (1, 2)
    assert "gone.file" in capsys.readouterr().err


@pytest.mark.parametrize("name", READ_TWO)
def test_the_second_missing_file_is_named(capsys: pytest.CaptureFixture[str], name: str, own_folder: None) -> None:
    Path("net.prototxt").write_text(NET, encoding="utf-8")
    assert run(name, "net.prototxt", "gone.caffemodel", *(["out.onnx"] if name == "export" else [])) in (1, 2)
    assert "gone.caffemodel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'; did you mean 'train'?"),
        (["zzzz"], "No such command 'zzzz'; `demitasse --help` lists the commands"),
        (["pack", "--defintion"], "No such option: --defintion"),
        (["compress", "digits_lenett"], "did you mean 'digits_lenet' or '"),
        (["compress", "lenet300_mnist_dns"], "did you mean 'lenet300_mnist_dns_90' or 'lenet300_mnist_dns_98' or "),
        (["compress", "zzz"], "; demitasse recipes lists them"),
        (["compress", ""], "; demitasse recipes lists them"),
        (["sensitivity", "resnet"], "did you mean '"),
    ],
)
def test_slips(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("words", "expected"), [("demitasse tr", "train"), ("demitasse train --sol", "--solver")])
def test_a_shell_can_complete(words: str, expected: str) -> None:
    environment = {**os.environ, "_DEMITASSE_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    command = [sys.executable, "-m", "demitasse"]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert expected in done.stdout.split()


def test_the_script_of_completion() -> None:
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "demitasse", "--show-completion", "bash"]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0
    assert "_DEMITASSE_COMPLETE=complete_bash" in done.stdout


def test_every_command_stands_where_it_is_looked_for() -> None:
    for family, names in FAMILIES.items():
        app = typer.Typer()
        import_module(f"demitasse.cli.{family}").register(app)
        assert tuple(command.name for command in app.registered_commands) == names


def test_only_the_file_of_the_command_is_loaded() -> None:
    code = """
import sys
from demitasse import cli
cli.build("run")
print(*(name for name in cli.FAMILIES if f"demitasse.cli.{name}" in sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["inference"]
