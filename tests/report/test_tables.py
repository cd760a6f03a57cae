from __future__ import annotations

from io import StringIO

from rich.console import Console

from demitasse.report.tables import StageResult, as_plain, markdown, stage_table

STAGES = [
    StageResult("reference", 0.0123, 1000, 1000, 4096, 10.04),
    StageResult("compact file", 0.02, 55, 1000, 128, 0.5),
]


def test_markdown() -> None:
    assert markdown(STAGES).splitlines() == [
        "| stage | test error | parameters kept | bytes | ratio | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| reference | 1.23 % | 1,000 (100.0 %) | 4,096 | 1.0x | 10.0 |",
        "| compact file | 2.00 % | 55 (5.5 %) | 128 | 32.0x | 0.5 |",
    ]


def test_table_for_a_terminal() -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(stage_table(STAGES, "digits"))
    text = console.export_text()
    assert "digits" in text
    assert "32.0x" in text


def test_plain_values_are_not_rounded() -> None:
    plain = as_plain(STAGES)
    assert plain[0]["error"] == 0.0123
    assert plain[1]["ratio"] == 32


def test_losses_are_in_nats() -> None:
    lines = markdown([StageResult("train", 1.23456, 10, 10, 40, 1.0, "loss")]).splitlines()
    assert lines[0].startswith("| stage | test loss (nats) |")
    assert lines[2].startswith("| train | 1.2346 |")
