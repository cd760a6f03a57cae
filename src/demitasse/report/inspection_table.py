"""The table of a .demi file: how many bytes each tensor takes."""

from __future__ import annotations

from demitasse.errors import shortened, visible
from demitasse.report.inspection import Inspection, TensorRow
from demitasse.text_table import Column, TextTable

_LONGEST_TEXT = 60
_LONGEST_NAME = 200
_COLUMNS = (
    Column("tensor"),
    Column("type", 5, left=True),
    Column("shape", 3, left=True),
    Column("codec", 6, left=True),
    Column("nonzero", 1),
    Column("distinct", 8),
    Column("positions", 4),
    Column("values", 4),
    Column("bytes"),
    Column("bits each", 2),
    Column("of entropy", 7),
)


def table(found: Inspection) -> TextTable:
    """Returns the table, with totals and metadata."""
    header = ["header", *[""] * 7, f"{found.header:,}", "", ""]
    rows = [_cells(row) for row in found.rows]
    return TextTable(visible(found.name), _COLUMNS, rows, [header, _totals(found)], result=True, notes=_notes(found))


def _cells(row: TensorRow) -> list[str]:
    return [
        _name(row.name),
        row.dtype,
        " x ".join(map(str, row.shape)) or "scalar",
        row.codec,
        _percent(row.present, row.count),
        f"{row.distinct:,}",
        f"{row.positions:,.0f}",
        f"{row.values:,.0f}",
        f"{row.bytes:,.0f}",
        f"{8 * row.bytes / row.count:.3f}" if row.count else "",
        "" if row.against_entropy is None else f"{row.against_entropy:.1%}".replace("%", " %"),
    ]


def _totals(found: Inspection) -> list[str]:
    known = [row for row in found.rows if row.against_entropy is not None]
    entropy = sum(row.entropy for row in known)
    return [
        "file",
        "",
        f"{found.count:,} values",
        "",
        _percent(sum(row.present for row in found.rows), found.count),
        "",
        f"{sum(row.positions for row in found.rows):,.0f}",
        f"{sum(row.values for row in found.rows):,.0f}",
        f"{found.size:,}",
        f"{8 * found.size / found.count:.3f}" if found.count else "",
        f"{sum(row.bytes for row in known) / entropy:.1%}".replace("%", " %") if entropy else "",
    ]


def _notes(found: Inspection) -> list[str]:
    lines = [f"{found.ratio:.1f}x smaller than float32"]
    lines += [f"{_name(alias)} is another name of {_name(name)}" for alias, name in found.aliases.items()]
    return lines + [f"{_name(key)}: {_short(value)}" for key, value in found.metadata.items()]


def _name(text: str) -> str:
    return shortened(visible(text), _LONGEST_NAME)


def _short(text: str) -> str:
    line = visible(text.splitlines()[0] if text else "")
    if visible(text) == line and len(line) <= _LONGEST_TEXT:
        return line
    return f"{line[:_LONGEST_TEXT]} ... ({len(text):,} characters)"


def _percent(some: int, every: int) -> str:
    return f"{some / every:.2%}".replace("%", " %") if every else ""
