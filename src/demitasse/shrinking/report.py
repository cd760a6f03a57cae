"""What ``shrink`` did, layer by layer: as plain data and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from demitasse.methods.report import dense_lines
from demitasse.methods.selection import EXCLUDED, NOT_CHOSEN, Dense
from demitasse.text_table import Column, TextTable, printable

OTHER_KIND = "not a weight of a linear, convolution, attention or recurrent layer"


@dataclass(frozen=True)
class ShrunkParameter:
    """One compressed parameter.

    Attributes:
        name: as in the state_dict.
        shape: its shape.
        entries: number of entries.
        kept: number of nonzero entries.
        values: number of distinct nonzero values.
        grid: the kind of its grid, ``pow2`` or ``uniform``; None if it was only pruned.
        per: what has a scale of its own, ``tensor`` or ``channel``; None if it was only pruned.
        losses: the estimated loss of each grid that was considered, such as ``{"pow2 tensor": 0.1}``.
        error: the squared error that compressing the layer adds to its outputs on the calibration inputs, relative to
            their mean square (about their means, where something takes up a shift). Outputs count by what they cost
            the model. What errors of earlier layers have lost for good is not in it.
        cost: what the error costs the model, estimated from gradients; 0 if there are none.
    """

    name: str
    shape: tuple[int, ...]
    entries: int
    kept: int
    values: int
    grid: str | None
    per: str | None
    losses: Mapping[str, float]
    error: float
    cost: float

    @property
    def scales(self) -> str:
        """What has a scale of its own, and why: the estimated loss with scales of channels, relative to one scale."""
        one, each = (self.losses.get(f"{self.grid} {per}") for per in ("tensor", "channel"))
        is_chosen = self.per == "channel" and one and each is not None
        return f"channel ({each / one:.2f})" if is_chosen else self.per or ""  # type: ignore[operator]


@dataclass(frozen=True)
class ShrinkReport:
    """What :func:`demitasse.shrink` did; ``str()`` gives a table that fits the terminal, a notebook shows it as HTML.

    Attributes:
        choice: what was asked for or chosen, in words.
        examples: number of calibration examples.
        rows: one for each compressed parameter, in the order of execution.
        dense: the parameters that stay dense, each with the reason.
        bytes: size of the file, if there was a limit; else None.
        seconds: how long it took.
    """

    choice: str
    examples: int
    rows: tuple[ShrunkParameter, ...]
    dense: tuple[Dense, ...]
    bytes: int | None
    seconds: float

    @property
    def sparsity(self) -> float:
        """The share of zeros among the entries of compressed parameters."""
        return 1 - sum(row.kept for row in self.rows) / sum(row.entries for row in self.rows)

    def as_plain(self) -> dict[str, object]:
        """Returns a dictionary of plain values, for JSON."""
        return {**asdict(self), "sparsity": self.sparsity}

    def __str__(self) -> str:
        return printable(self.table())

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> TextTable:
        """Returns the table; it adapts to any width."""
        has_scales = any(row.per == "channel" for row in self.rows)
        columns = [
            Column("parameter"),
            Column("shape", 4),
            Column("entries", 3),
            Column("zeros"),
            Column("values", 1),
            *([Column("scales", 2)] if has_scales else []),
            Column("error of outputs"),
        ]
        rows = [
            [
                row.name,
                "x".join(map(str, row.shape)),
                f"{row.entries:,}",
                _percent(1 - row.kept / row.entries),
                f"{row.values:,}",
                *([row.scales] if has_scales else []),
                _percent(row.error),
            ]
            for row in self.rows
        ]
        entries = sum(row.entries for row in self.rows)
        total = ["total", "", f"{entries:,}", _percent(self.sparsity)]
        totals = [total + [""] * (len(columns) - len(total))] if len(rows) > 1 else []
        size = "" if self.bytes is None else f"; {self.bytes:,} bytes"
        notes = [f"{self.choice}; {self.examples:,} examples, {self.seconds:.0f} s{size}"]
        if any("(" in row.scales for row in self.rows):
            notes.append("channel (0.5): a scale for each channel, at 0.5 of the estimated loss of a single scale")
        notes += dense_lines(one for one in self.dense if one.reason not in (OTHER_KIND, NOT_CHOSEN, EXCLUDED))
        return TextTable("Compressed without training", columns, rows, totals, notes=notes)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
