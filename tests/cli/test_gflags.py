"""Flags as Caffe's programs take them, of gflags and glog."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demitasse.caffe.schema import Datum
from demitasse.caffe.sources.store import BACKENDS
from demitasse.cli import main
from demitasse.cli.gflags import CommandLine
from demitasse.errors import UsageError

KNOWN = {"solver": False, "gpu": False, "level": False, "gray": True, "shuffle": True, "note": False}


def read(*words: str, said: list[str] | None = None) -> CommandLine:
    return CommandLine(KNOWN, {}, ("caffe", "train"), (said if said is not None else []).append).parse(words)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["-solver=a=b", "--gpu", "0,1"], {"solver": "a=b", "gpu": "0,1"}),
        (["--level", "-1", "-solver", "--x"], {"level": "-1", "solver": "--x"}),
        (["-gray"], {"gray": "true"}),
        (["--gray=YES", "-shuffle=f"], {"gray": "true", "shuffle": "false"}),
        (["-nogray", "--noshuffle=true"], {"gray": "false", "shuffle": "false"}),
        (["-gray", "-gray=0"], {"gray": "false"}),
        (["-note=x", "-gpu="], {"note": "x", "gpu": ""}),
        (["--undefok=foo,bar", "-foo=1", "-nobar"], {}),
        (["-flagfile="], {}),
    ],
)
def test_values(words: list[str], values: dict[str, str]) -> None:
    assert read(*words).values == values


def test_flags_and_arguments_may_be_mixed() -> None:
    assert read("root", "-gray", "list", "-", "--level", "2", "--", "-db").arguments == ["root", "list", "-", "-db"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-sovler=x"], "No such option: --sovler; did you mean '--solver'?"),
        (["-nosolver"], "No such option: --nosolver"),
        (["-solver"], "Option '--solver' requires an argument"),
        (["-gray=2"], "--gray=2: expected true or false"),
        (["--gray", "false"], "takes its value after '=': --gray=false"),
        (["-flagfile=gone.txt"], "--flagfile=gone.txt: cannot be read: No such file"),
        (["-fromenv=gpu"], "no environment variable FLAGS_gpu"),
    ],
)
def test_wrong_flags(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        read(*words)


def test_flag_files(tmp_path: Path) -> None:
    (tmp_path / "inner.txt").write_text("--gpu=3\n", encoding="utf-8")
    text = f"# of a run\n\n  -solver=a b.prototxt\r\n--nogray\n--flagfile={tmp_path}/inner.txt\n--level=1\n"
    (tmp_path / "flags.txt").write_text(text, encoding="utf-8")
    line = read("-gray", f"-flagfile={tmp_path}/flags.txt", "list", "-level=2")
    assert line.values == {"gray": "false", "solver": "a b.prototxt", "gpu": "3", "level": "2"}
    assert line.arguments == ["list"]


def test_flag_files_of_several_programs(tmp_path: Path) -> None:
    text = "-level=1\nother\n-level=2\n-gpu=2\nupgrade\ntr*\n-gpu=3\n"
    (tmp_path / "flags.txt").write_text(text, encoding="utf-8")
    assert read(f"--flagfile={tmp_path}/flags.txt").values == {"level": "1", "gpu": "3"}


def test_what_a_flag_file_cannot_mean_is_said(tmp_path: Path) -> None:
    path = tmp_path / "flags.txt"
    path.write_text("--speed=2\n--solver x\n", encoding="utf-8")
    said: list[str] = []
    assert read(f"--flagfile={path}", said=said).values == {}
    assert [line.split(" ")[0] for line in said] == [f"{path}:1:", f"{path}:2:"]
    path.write_text("\n--gray=maybe\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"flags\.txt:2: --gray=maybe: expected true or false"):
        read(f"--flagfile={path}")
    path.write_text(f"--flagfile={path}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="the file includes itself"):
        read(f"--flagfile={path}")


def test_flags_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAGS_gpu", "1")
    monkeypatch.setenv("FLAGS_gray", "true")
    assert read("-fromenv=gpu,gray", "-tryfromenv=level").values == {"gpu": "1", "gray": "true"}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A folder of three images in colour, and the arguments that name it."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3)).astype(np.uint8)
    for index in range(3):
        Image.fromarray(pixels[index]).save(f"{index}.png")
    Path("list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(3)), encoding="utf-8")
    return [".", "list.txt"]


def datums(path: str) -> list[Datum]:
    with BACKENDS["lmdb"].open(path) as store:
        return [Datum.FromString(value) for _, value in store.records()]


@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        (["-gray=true"], 1),
        (["--gray"], 1),
        (["-gray=false"], 3),
        (["-gray", "-nogray", "--shuffle=false"], 3),
        (["-noshuffle", "-check_size=true", "-gray=1", "--encoded=false", "-backend", "lmdb"], 1),
        (["-logtostderr=1", "-v=2", "--vmodule=a=1", "-gray=t", "--colorlogtostderr"], 1),
    ],
)
def test_flags_of_convert_imageset(images: list[str], flags: list[str], channels: int) -> None:
    assert run("convert_imageset", *flags, *images, "db") == 0
    found = datums("db")
    assert [datum.channels for datum in found] == [channels] * 3
    assert [datum.label for datum in found] == [0, 1, 2]


@pytest.mark.parametrize("flags", [["-encode_type=png"], ["--encode_type", "png", "-noencoded"]])
def test_a_type_of_encoding_implies_that_images_are_encoded(
    images: list[str], flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("convert_imageset", *flags, *images, "db") == 0
    assert [(datum.encoded, datum.data[:4]) for datum in datums("db")] == [(True, b"\x89PNG")] * 3
    assert "encode_type specified, assuming encoded=true." in capsys.readouterr().err


NET = """layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET, encoding="utf-8")
    return "-model=net.prototxt"


def test_flags_before_the_action(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-iterations", "1", net, "time") == 0
    assert "Testing for 1 iterations." in capsys.readouterr().err


def test_flags_of_other_actions_are_ignored_aloud(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("time", net, "-iterations=1", "-weights=gone.caffemodel") == 0
    assert "warning: time: --weights has no meaning here" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "lines"), [("0", True), ("1", False)])
def test_the_least_severity(net: str, capsys: pytest.CaptureFixture[str], level: str, lines: bool) -> None:
    assert run("time", net, "-iterations=1", f"--minloglevel={level}", "-log_dir=logs") == 0
    assert ("Benchmark begins" in capsys.readouterr().err) == lines
    (copy,) = Path("logs").iterdir()
    assert ("Benchmark begins" in copy.read_text(encoding="utf-8")) == lines


def test_where_the_log_goes(net: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("time", net, "-iterations=1", "-log_dir=logs", "-alsologtostderr=false") == 0
    assert capsys.readouterr().err == ""
    assert "Benchmark" in next(Path("logs").iterdir()).read_text(encoding="utf-8")
    assert run("time", net, "-iterations=1", "-log_dir=none", "--logtostderr") == 0
    assert not Path("none").exists()
    monkeypatch.setenv("GLOG_log_dir", "variable")
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert run("time", net, "-iterations=1", "-minloglevel=0") == 0
    assert "Benchmark" in next(Path("variable").iterdir()).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "prefix"),
    [
        ([], r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ caffe\.cpp:\d+\] "),
        (["-log_year_in_prefix=true"], r"I\d{8} \d\d:\d\d:\d\d\.\d{6} +\d+ caffe\.cpp:\d+\] "),
        (["-log_prefix=false"], ""),
    ],
)
def test_how_lines_begin(net: str, capsys: pytest.CaptureFixture[str], flags: list[str], prefix: str) -> None:
    assert run("time", net, "-iterations=1", *flags) == 0
    assert re.search(rf"(?m)^{prefix}Average time per layer: $", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-minloglevel=5"], "--minloglevel=5: expected 0, 1, 2 or 3"),
        (["-flagfile=gone.txt"], "--flagfile=gone.txt: cannot be read"),
        (["-modle=x"], "No such option: --modle; did you mean '--model'?"),
    ],
)
def test_wrong_flags_of_a_command(net: str, capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert run("time", net, *flags) == 2
    assert message in capsys.readouterr().err


def test_other_commands_keep_to_their_own_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("recipes", "-flagfile=x") == 2
    assert "No such option: --flagfile" in capsys.readouterr().err


def test_a_whole_number_may_be_hexadecimal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As gflags has it; the name of a file that looks like one stays."""
    with pytest.raises(SystemExit):
        main(["convert_imageset", f"{tmp_path}/", "0x1F", "out", "-resize_height=0x1F"])
    assert "resize_height is 31 and resize_width 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["time", "-model=0x1F", "-iterations=0x2"])
    assert "error: 0x1F: cannot be read" in capsys.readouterr().err
