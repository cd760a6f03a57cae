"""The table of stages: size and error of a net after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from demitasse.text_table import Column, TextTable

HEADERS = ("stage", "test error", "parameters kept", "bytes", "ratio", "seconds")
# metric -> its header, and a function that formats a value
METRICS: dict[str, tuple[str, Callable[[float], str]]] = {
    "error": ("test error", lambda value: f"{value:.2%}".replace("%", " %")),
    "loss": ("test loss (nats)", lambda value: f"{value:.4f}"),
}


@dataclass(frozen=True)
class StageResult:
    """The result of one stage.

    Attributes:
        name: name of the stage, such as ``pruned (DNS)``.
        error: the test error, a share from 0 to 1, or the value of another metric.
        kept: number of nonzero parameters.
        total: number of all parameters.
        bytes: size of the stage's file in bytes.
        seconds: wall time of the stage without its test.
        metric: the metric in ``error``: ``error``, or ``loss`` in nats.
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
    """Returns the cells of the table as text; the ratio is that of the first stage's bytes to the stage's."""
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
    """Returns the table for a terminal; it highlights the last stage, the result."""
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


def as_plain(stages: Sequence[StageResult]) -> list[dict[str, object]]:
    """Returns the stages as plain values for JSON, each with its ratio of bytes."""
    return [{**asdict(stage), "ratio": stages[0].bytes / stage.bytes} for stage in stages]
