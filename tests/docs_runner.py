"""Runs the fenced examples of a Markdown page: ``python`` blocks, and the commands of ``sh`` and ``console`` blocks.

In ``console`` blocks, lines after ``$`` are commands; the other lines must be in their output, in that order, and
``...`` stands for anything. A comment before a block changes how it is treated:

- ``<!-- not run: why -->``: the block is left out,
- ``<!-- figures vary -->``: numbers in the expected output stand for any numbers,
- ``<!-- output -->``: a ``text`` block is what the ``python`` block before it prints, with any numbers.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from demitasse.cli import main

Output = Callable[[], str]

_BLOCK = re.compile(
    r"(?:<!-- (not run|figures vary|output)(?:: [^\n]+?)? -->\n\n?)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_WILD = re.compile(r"\.\.\.|…")
# a number, and what has another width where the number has
_FIGURE = re.compile(r"(?P<number>\d[\d,.]*(?:e[+-]?\d+)?)|(?P<line>[━─]+)|(?P<space>\s+)")
_ANY = {"number": r"\d[\d,.]*(?:e[+-]?\d+)?", "line": "[━─]+", "space": r"\s+"}


class Block(NamedTuple):
    """A fenced block: its language, its text, the line of the page where it starts, and the comment before it."""

    language: str
    text: str
    line: int
    comment: str | None = None

    @property
    def is_output(self) -> bool:
        """Whether this is the output of the block before."""
        return self.comment == "output"


class Command(NamedTuple):
    """A command line, and the lines that must be in its output."""

    line: str
    expected: list[str]
    figures_vary: bool = False


def blocks(page: Path) -> list[Block]:
    """Returns the blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[2], match[3], text.count("\n", 0, match.start(3)) + 1, match[1])
        for match in _BLOCK.finditer(text)
        if match[1] == "output" or (match[2] in ("python", "sh", "console") and match[1] != "not run")
    ]


def commands(block: Block) -> Iterator[Command]:
    """Yields the commands of a block, continued lines joined."""
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    current: Command | None = None
    for line in lines:
        if block.language == "console" and not line.startswith("$ "):
            assert current, f"line {block.line}: output before a command"
            current.expected.append(line)
            continue
        if current:
            yield current
        current = Command(line.removeprefix("$ "), [], block.comment == "figures vary")
    if current:
        yield current


def run_command(command: Command, output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs one command in the working directory and checks what it says and whether it fails as shown."""
    arguments = shlex.split(command.line, comments=True)
    if not arguments:
        return
    if arguments[0] == "cd":
        monkeypatch.chdir(arguments[1])
        return
    output()
    if arguments[0] == "demitasse":
        with pytest.raises(SystemExit) as stop:
            main(arguments[1:])
        code = stop.value.code or 0
        said = output()
    else:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        code, said = done.returncode, done.stdout + done.stderr
    fails = any(line.startswith(("error:", "Error:")) for line in command.expected)
    assert bool(code) == fails, f"{command.line}: exit code {code}\n{said}"
    check_output(command.expected, said, command.figures_vary, command.line)


def check_output(expected: list[str], said: str, figures_vary: bool, what: str) -> None:
    """Checks that lines are in an output, in their order."""
    quote = _loosely if figures_vary else re.escape
    pattern = ".*".join(".*".join(map(quote, _WILD.split(line.strip()))) for line in expected if line.strip())
    assert re.search(pattern, said, re.DOTALL), f"{what}\nexpected {expected}\nfound\n{said}"


def _loosely(text: str) -> str:
    """Returns a pattern for the text with any numbers, and columns as wide as these need."""
    pattern, end = "", 0
    for found in _FIGURE.finditer(text):
        pattern += re.escape(text[end : found.start()]) + _ANY[str(found.lastgroup)]
        end = found.end()
    return pattern + re.escape(text[end:])
