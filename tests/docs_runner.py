"""Runs the fenced examples of a Markdown page: ``python`` blocks, and the commands of ``sh`` and ``console`` blocks.

A comment ``<!-- not run: why -->`` before a block leaves it out. In ``console`` blocks lines behind ``$`` are
commands and the others must be in their output, in that order; ``...`` stands for anything.
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

_BLOCK = re.compile(r"(?:<!-- (not run): .+? -->\n\n?)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page where it starts."""

    language: str
    text: str
    line: int


class Command(NamedTuple):
    """A command line, and the lines that must be in its output."""

    line: str
    expected: list[str]


def blocks(page: Path) -> list[Block]:
    """Returns the blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(match[2], match[3], text.count("\n", 0, match.start(3)) + 1)
        for match in _BLOCK.finditer(text)
        if match[2] in ("python", "sh", "console") and not match[1]
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
        current = Command(line.removeprefix("$ "), [])
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
    pattern = ".*".join(
        ".*".join(map(re.escape, re.split(r"\.\.\.|…", line.strip()))) for line in command.expected if line.strip()
    )
    assert re.search(pattern, said, re.DOTALL), f"{command.line}\nexpected {command.expected}\nfound\n{said}"
