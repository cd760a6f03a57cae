from __future__ import annotations

from pathlib import Path

import pytest

from demitasse.cli import main
from tests.pycaffe.test_draw import TEXT


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(TEXT)
    return "net.prototxt"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["draw_net", *arguments])
    return int(stop.value.code or 0)


def test_draw_net(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(net, "net.svg", "-rankdir=TB", "--phase", "TEST", "--display_lrm") == 0
    assert "Wrote net.svg" in capsys.readouterr().out
    text = Path("net.svg").read_text()
    assert ">test<" in text
    assert ">train<" not in text
    assert ">lr mult 1, 2<" in text


def test_wrong_use(net: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(net, "net.svg", "--phase", "BOTH") == 2
    assert run(net, "net.gif") == 2
    assert run(net, "net.svg", "--rankdir", "XY") == 2
    Path("wrong.prototxt").write_text("layer { nam: 'x' }")
    assert run("wrong.prototxt", "net.svg") == 2
    assert "wrong.prototxt:1: LayerParameter has no field 'nam'" in capsys.readouterr().err
    assert not Path("net.svg").exists()
