"""Tables at any width: nothing is cut."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from demitasse.text_table import Column, TextTable, display_width, printable, show

LONG = "encoder.layers.11.attention.self.query_projection_of_the_block.weight"
TABLE = TextTable(
    "title",
    [Column("parameter"), Column("shape", 3), Column("kept"), Column("of", 4), Column("sparsity", 0)],
    [[LONG, "768x768", "1,234,567", "589,824,000", "98.76 %"], ["head.weight", "10x64", "640", "640", "0.00 %"]],
    [["together", "", "1,235,207", "589,824,640", "98.75 %"]],
    notes=["a note that is as long as many notes are, so that it does not fit into one line of a narrow terminal"],
)
WIDTHS = (40, 80, 110, 200, None)


def cells(text: str, column: int) -> list[str]:
    """The cells of a column, wrapped ones put together."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("│"):
            parts = [part.strip() for part in line.strip("│").split("│")]
            if any(parts[1:]):
                found.append(parts[column])
            elif not column:
                found[-1] += parts[0]
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_lines_fit_and_names_and_numbers_are_whole(width: int | None) -> None:
    text = TABLE.text(width)
    assert all(len(line) <= (width or 200) for line in text.splitlines())
    assert "…" not in text
    assert cells(text, 0) == [LONG, "head.weight", "together"]
    for number in ("1,234,567", "98.76 %", "1,235,207"):
        assert number in text


def test_the_least_columns_are_left_out_first_and_named() -> None:
    headers = {width: TABLE.text(width).splitlines()[2].split() for width in (None, 70, 50)}
    assert [header for header in headers[None] if header != "┃"] == ["parameter", "shape", "kept", "of", "sparsity"]
    assert [header for header in headers[70] if header != "┃"] == ["parameter", "shape", "kept", "sparsity"]
    assert [header for header in headers[50] if header != "┃"] == ["parameter", "kept", "sparsity"]
    assert "(not shown at this width: shape, of)" in TABLE.text(40).replace("\n  ", " ")
    assert "not shown" not in TABLE.text(None)


def test_columns_that_must_stay_go_on_below_with_the_names_again() -> None:
    columns = [Column("layer"), *(Column(f"{number} %") for number in range(10, 20))]
    table = TextTable("", columns, [["conv1", *(f"0.{number}234" for number in range(10, 20))]])
    text = table.text(40)
    assert all(len(line) <= 40 for line in text.splitlines())
    assert cells(text, 0) == ["conv1"] * text.count("layer")
    assert text.count("layer") > 1
    for number in range(10, 20):
        assert text.count(f"{number} %") == text.count(f"0.{number}234") == 1


@pytest.mark.parametrize("width", [1, 5, 12, 20])
def test_a_width_too_small_for_anything_still_cuts_nothing(width: int) -> None:
    text = TABLE.text(width)
    assert "1,234,567" in text
    assert "98.76 %" in text


def test_names_break_behind_dots_where_they_can() -> None:
    lines = TextTable("", [Column("n"), Column("x")], [["a.bb.ccc.dddd.eeeee", "1" * 20]]).text(40).splitlines()
    assert [line.split("│")[1].strip() for line in lines[3:-1]] == ["a.bb.ccc.", "dddd.eeeee"]


def test_a_console_gets_the_table_at_its_width() -> None:
    console = Console(width=40, file=StringIO(), record=True)
    console.print(TABLE)
    assert console.export_text().splitlines() == TABLE.text(40).splitlines()


def test_piped_output_is_as_wide_as_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert display_width() is None
    show(TABLE)
    assert capsys.readouterr().out.splitlines() == TABLE.text().splitlines()
    monkeypatch.setenv("COLUMNS", "40")
    show(TABLE)
    assert capsys.readouterr().out.splitlines() == TABLE.text(40).splitlines()


def test_an_output_that_knows_no_lines_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii(StringIO):
        encoding = "ascii"

    monkeypatch.setattr("sys.stdout", Ascii())
    printable(TABLE).encode("ascii")


def test_notebooks_get_html_with_all_columns() -> None:
    html = TextTable("a < b", [Column("name"), Column("n", 5)], [["x", "1"]], notes=["& so on"]).html()
    assert "<caption>a &lt; b</caption>" in html
    assert "<tr><td>x</td><td>1</td></tr>" in html
    assert "&amp; so on" in html
