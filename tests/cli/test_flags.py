import pytest

from demitasse.cli import main
from demitasse.cli.flags import normalise


def test_both_spellings() -> None:
    assert normalise(["train", "-solver=x", "--weights", "a,b", "-gpu", "0"]) == [
        "train",
        "--solver=x",
        "--weights",
        "a,b",
        "--gpu",
        "0",
    ]


def test_numbers_and_what_follows_a_double_dash_stay() -> None:
    assert normalise(["-1", "-h", "--", "-solver"]) == ["-1", "-h", "--", "-solver"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "-solver=no.prototxt"], 2, "no.prototxt: cannot be read: No such file"),
        (["trian"], 2, "No such command 'trian'"),
        (["train", "-sovler=x"], 2, "No such option"),
        (["test", "-model=no.prototxt", "-weights=no"], 2, "no.prototxt: cannot be read"),
    ],
)
def test_wrong_use_is_said_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    printed = capsys.readouterr().err
    assert stop.value.code == code
    assert message in printed
    assert "Traceback" not in printed


def test_debug_shows_where() -> None:
    from demitasse.errors import PrototxtError

    with pytest.raises(PrototxtError):
        main(["train", "-solver=no.prototxt", "--debug"])


def test_an_internal_error_is_not_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demitasse.caffe.text.prototxt.read_solver", lambda path: 1 / 0)
    with pytest.raises(SystemExit) as stop:
        main(["train", "-solver=x"])
    assert stop.value.code == 1
    assert "internal error: ZeroDivisionError" in capsys.readouterr().err
