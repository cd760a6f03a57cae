"""Standard streams that are closed, or whose reader has gone: the work is done, and printing fails quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demitasse.caffe.models.blobs import array_blob
from demitasse.caffe.models.caffemodel import write_net_message
from demitasse.caffe.schema import NetParameter
from demitasse.caffe.text.prototxt import parse
from demitasse.packed.file import File
from tests.report.test_log_tables import LINES

pytestmark = pytest.mark.skipif(os.name == "nt", reason="redirections of a POSIX shell")

NET = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 4 } } }
layer { name: "last" type: "InnerProduct" bottom: "data" top: "last" inner_product_param { num_output: 2 } }
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET, encoding="utf-8")
    message = parse(NET, NetParameter(), "net")
    message.layer[1].blobs.extend(map(array_blob, [np.ones((2, 4), np.float32), np.float32([0, 0.5])]))
    write_net_message(message, "net.caffemodel")
    Path("run.log").write_text("\n".join(LINES), encoding="utf-8")


def shell(arguments: str, redirection: str) -> tuple[int, str]:
    """Runs a command in a shell; returns its exit code, and what came through on stderr."""
    # a reader that has gone before anything is printed
    script = f'{sys.executable} -m demitasse {arguments} {redirection}; echo "rc $?" >&3'
    done = subprocess.run(
        ["bash", "-c", f"exec 3>rc; {script}"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0 or "|" in redirection
    return int(Path("rc").read_text(encoding="utf-8").removeprefix("rc ")), done.stderr.decode()


GONE = "> >(exec true)"


@pytest.mark.parametrize("redirection", [">&-", "<&- >&- 2>&-", "2>&1 " + GONE])
def test_packing(redirection: str) -> None:
    code, said = shell("pack net.caffemodel net.demi", redirection)
    assert (code, said) == (0, "")
    with File("net.demi") as file:
        assert [entry.name for entry in file.header.entries] == ["last.0", "last.1"]


@pytest.mark.parametrize(
    ("arguments", "redirection", "output"),
    [
        # prints before it writes
        ("dns_model_compress net.prototxt net.caffemodel out.bin", GONE, "out.bin"),
        # logs to stderr
        ("time -model=net.prototxt -phase=TEST -iterations=2 -log_dir=logs", "2>&-", "logs"),
        ("parse_log run.log tables", GONE, "tables/run.log.test"),
    ],
)
def test_other_commands(arguments: str, redirection: str, output: str) -> None:
    code, said = shell(arguments, redirection)
    assert code == 0
    assert "Traceback" not in said
    assert Path(output).exists()


def test_errors_keep_their_code() -> None:
    assert shell("parse_log gone.log tables", ">&- 2>&-")[0] == 1
    assert shell("parse_log run.log tables --delimiter=long", "2>&-")[0] == 2


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    """What is written to stderr by others than Python must not land in an output."""
    code = (
        "import os, sys; from demitasse.cli import streams; streams.protect(); "
        "file = open('out', 'wb'); os.write(1, b'x'); os.write(2, b'y'); print('z'); sys.exit(file.fileno() < 3)"
    )
    done = subprocess.run(["bash", "-c", f'"{sys.executable}" -c "{code}" >&- 2>&- <&-'], check=False)
    assert done.returncode == 0
    assert Path("out").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_no_quiet_failure() -> None:
    code, said = shell("parse_log run.log tables", "> /dev/full")
    assert code == 1
    assert "error: standard output: No space left on device" in said
    assert Path("tables/run.log.train").exists()
