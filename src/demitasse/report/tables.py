"""The table of stages: how a net became small, and at what error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from demitasse.text_table import Column, TextTable

HEADERS = ("stage", "test error", "parameters kept", "bytes", "ratio", "seconds")
# what a test measured -> its header, and a value of it as text
METRICS: dict[str, tuple[str, Callable[[float], str]]] = {
    "error": ("test error", lambda value: f"{value:.2%}".replace("%", " %")),
    "loss": ("test loss (nats)", lambda value: f"{value:.4f}"),
}


@dataclass(frozen=True)
class StageResult:
    """One stage as it was measured.

    Attributes:
        name: what was done, such as ``pruned (DNS)``.
        error: share of the test images that is classified wrongly, 0 to 1; or what ``metric`` says.
        kept: parameters that are not zero.
        total: all parameters.
        bytes: size of the file that the stage leaves.
        seconds: wall time of the stage without its test.
        metric: what ``error`` is: ``error``, or ``loss`` in nats.
    """

    name: str
    error: float
    kept: int
    total: int
    bytes: int
    seconds: float
    metric: str = "error"


def headers(stages: Sequence[StageResult]) -> tuple[str, ...]:
    """Returns the headers of a table."""
    return (HEADERS[0], METRICS[stages[0].metric if stages else "error"][0], *HEADERS[2:])


def rows(stages: Sequence[StageResult]) -> list[tuple[str, ...]]:
    """Returns the cells of the table as text; the ratio is that of the bytes to the first stage's."""
    return [
        (
            stage.name,
            METRICS[stage.metric][1](stage.error),
            f"{stage.kept:,} ({stage.kept / stage.total:.1%})".replace("%", " %"),
            f"{stage.bytes:,}",
            f"{stages[0].bytes / stage.bytes:.1f}x",
            f"{stage.seconds:.1f}",
        )
        for stage in stages
    ]


def stage_table(stages: Sequence[StageResult], title: str) -> TextTable:
    """Returns the table for a terminal; the last stage, the result, stands out."""
    ranks = (0, 0, 2, 1, 0, 3)
    columns = [Column(header, rank) for header, rank in zip(headers(stages), ranks, strict=True)]
    return TextTable(title, columns, rows(stages), result=True)


def text(stages: Sequence[StageResult], title: str) -> str:
    """Returns the table as plain text."""
    return f"{stage_table(stages, title).text()}\n"


def markdown(stages: Sequence[StageResult]) -> str:
    """Returns the same table in Markdown."""
    lines = [headers(stages), ("---", *["---:"] * (len(HEADERS) - 1)), *rows(stages)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_plain(stages: Sequence[StageResult]) -> list[dict[str, Any]]:
    """Returns the stages as plain values for JSON, unrounded, each with its ratio of bytes."""
    return [{**asdict(stage), "ratio": stages[0].bytes / stage.bytes} for stage in stages]
