"""The report of a method, parameter by parameter: as plain data and as a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from demitasse.methods.name_patterns import collapse
from demitasse.methods.selection import Dense
from demitasse.text_table import Column, TextTable, printable


@dataclass(frozen=True)
class ParameterRow:
    """One compressed parameter.

    Attributes:
        name: as in the state_dict.
        shape: of the whole parameter.
        total: number of entries.
        kept: number of nonzero entries.
        target: the requested share of zeros, 0 to 1; None if there is none.
        threshold: in units of the weights; None if there is none yet.
        frozen: number of entries fixed at a power of two or at zero; None if the method freezes nothing.
        exponents: the least and the largest exponent of the grid; None if there is no grid yet.
        clipped: number of values that had grown beyond the grid and were clipped to it.
    """

    name: str
    shape: tuple[int, ...]
    total: int
    kept: int
    target: float | None = None
    threshold: float | None = None
    frozen: int | None = None
    exponents: tuple[int, int] | None = None
    clipped: int = 0

    @property
    def sparsity(self) -> float:
        """The share of zeros."""
        return 1 - self.kept / self.total if self.total else 0.0


@dataclass(frozen=True)
class MethodReport:
    """All parameters of a method; ``str()`` gives a table that fits the terminal, a notebook shows it as HTML.

    Attributes:
        method: name of the method.
        iteration: number of optimizer steps.
        rows: one for each compressed parameter; a tied parameter has one row.
        dense: the parameters that stay dense, each with the reason.
        notes: the lines below the table.
    """

    method: str
    iteration: int
    rows: tuple[ParameterRow, ...]
    dense: tuple[Dense, ...]
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Number of nonzero entries in the compressed parameters."""
        return sum(row.kept for row in self.rows)

    @property
    def total(self) -> int:
        """Number of entries in the compressed parameters."""
        return sum(row.total for row in self.rows)

    @property
    def sparsity(self) -> float:
        """The share of zeros among the entries of compressed parameters."""
        return 1 - self.kept / self.total if self.total else 0.0

    @property
    def frozen_share(self) -> float:
        """The share of frozen entries among the entries of compressed parameters."""
        return sum(row.frozen or 0 for row in self.rows) / self.total if self.total else 0.0

    def as_plain(self) -> dict[str, object]:
        """Returns a dictionary of plain values, for JSON."""
        rows = [{**asdict(row), "sparsity": row.sparsity} for row in self.rows]
        dense = [asdict(item) for item in self.dense]
        whole = {"kept": self.kept, "total": self.total, "sparsity": self.sparsity, "frozen_share": self.frozen_share}
        head = {"method": self.method, "iteration": self.iteration, **whole}
        return {**head, "rows": rows, "dense": dense, "notes": list(self.notes)}

    def __str__(self) -> str:
        return printable(self.table())

    def _repr_html_(self) -> str:
        return self.table().html()

    def table(self) -> TextTable:
        """Returns the table; it adapts to any width."""
        frozen = any(row.frozen is not None for row in self.rows)
        columns = [
            Column("parameter"),
            Column("shape", 3),
            Column("kept"),
            Column("of", 4),
            Column("sparsity"),
        ]
        columns += [Column("frozen", 1), Column("powers", 2)] if frozen else []
        rows = [[row.name, "x".join(map(str, row.shape)), *_cells(row, frozen)] for row in self.rows]
        whole = ParameterRow("", (), self.total, self.kept, frozen=sum(row.frozen or 0 for row in self.rows))
        totals = [["total", "", *_cells(whole, frozen)]] if len(rows) > 1 else []
        title = f"{self.method} after {self.iteration:,} steps"
        return TextTable(title, columns, rows, totals, notes=[*self.notes, *dense_lines(self.dense)])


def dense_lines(dense: Iterable[Dense]) -> list[str]:
    """Returns one line for each reason for which parameters stay dense."""
    reasons: dict[str, list[Dense]] = {}
    for item in dense:
        reasons.setdefault(item.reason, []).append(item)
    lines = []
    for reason, items in reasons.items():
        entries = sum(item.entries for item in items)
        lines.append(f"dense ({reason}): {', '.join(collapse([one.name for one in items]))}; {entries:,} entries")
    return lines


def _cells(row: ParameterRow, frozen: bool) -> list[str]:
    cells = [f"{row.kept:,}", f"{row.total:,}", f"{row.sparsity:.2%}".replace("%", " %")]
    if frozen:
        share = (row.frozen or 0) / row.total if row.total else 0.0
        cells.append(f"{share:.1%}".replace("%", " %"))
        cells.append(f"2^{row.exponents[0]} .. 2^{row.exponents[1]}" if row.exponents else "")
    return cells
