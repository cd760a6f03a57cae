"""Tables of text that fit a width: they wrap names, leave out minor columns, and continue others below."""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_WIDE = 10_000
_ROOM, _LEAST_ROOM = 28, 12  # wrap names to the first width, then leave out columns, then wrap to the second width
# corners and lines: above the headers, below them, above the totals, at the end; then the separators of cells
_BOX = ("┏━┳┓", "┡━╇┩", "├─┼┤", "└─┴┘", "┃", "│")
_ASCII = ("+-++", "+-++", "+-++", "+-++", "|", "|")
_BREAKS = re.compile(r"(?<=[./_\- ])")


class Line(NamedTuple):
    """A line of the output, and its style as rich names it."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        header: its header.
        rank: in a narrow table, columns of the largest rank are left out first; columns of rank 0 never.
        left: whether cells are aligned to the left, as texts, instead of to the right, as numbers.
    """

    header: str
    rank: int = 0
    left: bool = False


@dataclass(frozen=True)
class TextTable:
    """A table; rich prints it to fit the console, see :func:`show`.

    Attributes:
        title: the title above the table.
        columns: the columns from left to right; the first one has names, which are wrapped in a narrow table.
        rows: the rows, with a cell for each column.
        totals: rows below a line.
        result: whether to highlight the last row.
        notes: lines below the table, wrapped between words.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    totals: Sequence[Sequence[str]] = ()
    result: bool = False
    notes: Sequence[str] = ()

    def text(self, width: int | None = None, plain: bool = False) -> str:
        """Returns the table as text.

        Args:
            width: the most characters in a line; None for no limit.
            plain: whether to draw only with ASCII.
        """
        return "\n".join(line.text for line in self.lines(width, plain))

    def lines(self, width: int | None = None, plain: bool = False) -> Iterator[Line]:
        """Yields the lines; see :meth:`text`."""
        if self.title:
            yield from (Line(line, "bold") for line in _wrapped(self.title, width))
        kept = self._kept(width or _WIDE)
        for widths in self._blocks(kept, width or _WIDE):
            yield from self._drawn(widths, _ASCII if plain else _BOX)
        missing = [column.header for number, column in enumerate(self.columns) if number not in (0, *kept)]
        notes = [*self.notes, *([f"(not shown at this width: {', '.join(missing)})"] if missing else [])]
        yield from (Line(part) for note in notes for line in note.split("\n") for part in _wrapped(line, width))

    def html(self) -> str:
        """Returns the table as HTML, for notebooks."""
        lines = [f"<caption>{html.escape(self.title)}</caption>", _html_row("th", [one.header for one in self.columns])]
        lines += [_html_row("td", row) for row in (*self.rows, *self.totals)]
        notes = [f"<div>{html.escape(note)}</div>" for note in self.notes]
        return "\n".join(["<table>", *lines, "</table>", *notes])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for line in self.lines(options.max_width, options.ascii_only):
            yield Text(line.text, line.style, no_wrap=True, overflow="ignore")

    def _widths(self) -> list[int]:
        every = [[column.header for column in self.columns], *self.rows, *self.totals]
        return [max(map(_width, cells)) for cells in zip(*every, strict=True)]

    def _kept(self, width: int) -> list[int]:
        """Returns the columns after the name that are not left out."""
        name, *_ = widths = self._widths()
        kept = list(range(1, len(widths)))
        while kept and _total([min(name, _ROOM), *(widths[number] for number in kept)]) > width:
            last = max(kept, key=lambda number: (self.columns[number].rank, number))
            if not self.columns[last].rank:
                break
            kept.remove(last)
        return kept

    def _blocks(self, kept: Sequence[int], width: int) -> Iterator[dict[int, int]]:
        """Yields the widths of the columns of each block: all columns, or as many as fit, with the names first."""
        name, *_ = widths = self._widths()
        free = width - _total([0, *(widths[number] for number in kept)])
        whole = free >= min(name, _LEAST_ROOM)
        room = min(name, free if whole else max(_LEAST_ROOM, min(_ROOM, width // 2)))
        block = {0: room}
        for number in kept:
            if not whole and len(block) > 1 and _total([*block.values(), widths[number]]) > width:
                yield block
                block = {0: room}
            block[number] = widths[number]
        yield block

    def _drawn(self, widths: dict[int, int], box: Sequence[str]) -> Iterator[Line]:
        def rule(parts: str) -> Line:
            left, line, between, right = tuple(parts)
            return Line(left + between.join(line * (width + 2) for width in widths.values()) + right)

        def row(cells: Sequence[str], side: str, style: str = "") -> Iterator[Line]:
            first, *more = _folded(cells[0], widths[0])
            for part, name in enumerate([first, *more]):
                texts = {number: "" if part else cells[number] for number in widths} | {0: name}
                padded = [
                    _padded(text, widths[number], not number or self.columns[number].left)
                    for number, text in texts.items()
                ]
                yield Line(f"{side} {f' {side} '.join(padded)} {side}", style)

        yield rule(box[0])
        yield from row([column.header for column in self.columns], box[4], "bold")
        yield rule(box[1])
        groups = [group for group in (self.rows, self.totals) if group]
        for group in groups:
            if group is not groups[0]:
                yield rule(box[2])
            for cells in group:
                last = self.result and cells is groups[-1][-1]
                yield from row(cells, box[5], "bold green" if last else "")
        yield rule(box[3])


def show(table: TextTable) -> None:
    """Prints a table that fits the terminal; without a terminal, with its full width."""
    from rich.console import Console

    Console(width=display_width() or _WIDE).print(table, soft_wrap=True)


def display_width() -> int | None:
    """Returns the width of the terminal, or ``COLUMNS`` if it is set; None if the output is not a terminal."""
    if os.environ.get("COLUMNS", "").isdigit() or (sys.stdout and sys.stdout.isatty()):
        return shutil.get_terminal_size().columns
    return None


def printable(table: TextTable) -> str:
    """Returns a table as text for ``print``, which fits the terminal and its encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return table.text(display_width(), plain=not encoding.lower().replace("-", "").startswith("utf"))


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _padded(text: str, width: int, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 3 * len(widths) + 1


def _folded(text: str, width: int) -> list[str]:
    """Returns the lines of a cell, broken after dots, slashes, underscores, hyphens and spaces if possible."""
    lines = [""]
    for piece in _BREAKS.split(text):
        if lines[-1] and _width(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while _width(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None or _width(text) <= width:
        return [text]
    room = max(width, 20)
    lines = textwrap.wrap(text, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [part for line in lines for part in _fitted(line, room)]


def _fitted(line: str, width: int) -> list[str]:
    """Returns a line, or its parts if a word is too long."""
    if _width(line) <= width:
        return [line]
    first, *more = _folded(line, width - 2)
    return [first, *(f"  {part}" for part in more)]


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
