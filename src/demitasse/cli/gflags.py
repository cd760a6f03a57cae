"""Parses a command line like gflags, the flag library of Caffe's programs."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from demitasse.errors import UsageError
from demitasse.registry import suggest

_TRUE = ("1", "t", "true", "y", "yes")
_FALSE = ("0", "f", "false", "n", "no")
_FLAG = re.compile(r"--?([^=]+)(?:=(.*))?", re.DOTALL)
# the flags of gflags itself
_OWN = ("flagfile", "fromenv", "tryfromenv", "undefok")


class CommandLine:
    """The flags of a command line with their values, and its positional arguments.

    ``-x=1``, ``--x=1``, ``-x 1`` and ``--x 1`` mean the same; ``-b``, ``-b=true``, ``-nob`` and ``-b=false`` set a
    boolean flag. Dashes and underscores in names are equivalent, the last value of a flag counts, flags and arguments
    may be mixed, and ``--`` ends the flags. ``--flagfile=a,b`` reads flags from files, ``--fromenv=x`` and
    ``--tryfromenv=x`` take the value of ``x`` from the variable ``FLAGS_x``, ``--undefok=x`` ignores ``x`` if it is
    unknown.

    Args:
        known: name of each flag, with underscores -> whether it is boolean.
        further: flags of libraries, which are never suggested for an unknown flag.
        programs: names of the program, which sections of flag files refer to.
        warn: called with a message for each line of a flag file that is ignored.

    Attributes:
        values: name of each flag that is set -> its value, ``true`` or ``false`` for a boolean flag.
        arguments: the positional arguments.

    Reference: gflags, "How To Use gflags", https://gflags.github.io/gflags/
    """

    def __init__(
        self,
        known: Mapping[str, bool],
        further: Mapping[str, bool],
        programs: Collection[str],
        warn: Callable[[str], None],
    ) -> None:
        self.values: dict[str, str] = {}
        self.arguments: list[str] = []
        self._main = known
        self._known = {**dict.fromkeys(_OWN, False), **further, **known}
        self._programs = programs
        self._warn = warn
        self._unknown: list[str] = []
        self._undefok: set[str] = set()
        self._files: list[str] = []

    def parse(self, words: Sequence[str]) -> CommandLine:
        """Parses the words of a command line and returns itself.

        Raises:
            UsageError: a flag is unknown or has no value, a boolean flag has a value other than true or false, a
                flag file cannot be read or includes itself, or an environment variable is not set.
        """
        left = deque(words)
        while left:
            word = left.popleft()
            match = _FLAG.fullmatch(word)
            if word == "--":
                self.arguments += left
                break
            if not match:
                self.arguments.append(word)
            elif name := self._name(match[1]):
                self._assign(name, self._value(match, name, left))
            else:
                self._unknown.append(_plain(match[1]))
        self._check_unknown()
        return self

    def _name(self, text: str) -> str | None:
        """Returns the name of the known flag, without the ``no`` that negates it; None if there is none."""
        name = _plain(text)
        positive = name.removeprefix("no")
        return name if name in self._known else positive if self._known.get(positive) else None

    def _value(self, match: re.Match[str], name: str, left: deque[str]) -> str:
        value = self._given_value(match, name)
        if value is None:
            if not left:
                raise UsageError(f"Option '--{name}' requires an argument")
            return left.popleft()
        if match[2] is None and left and left[0].lower() in ("true", "false"):
            raise UsageError(f"--{name} {left[0]}: a boolean flag takes its value after '=': --{name}={left[0]}")
        return value

    def _given_value(self, match: re.Match[str], name: str) -> str | None:
        if _plain(match[1]) != name:
            return "false"  # -noflag ignores its value
        return "true" if match[2] is None and self._known[name] else match[2]

    def _assign(self, name: str, value: str) -> None:
        if name == "flagfile":
            for path in filter(None, value.split(",")):
                self._read_file(path)
        elif name == "undefok":
            self._undefok.update(_plain(flag) for flag in value.split(","))
        elif name in ("fromenv", "tryfromenv"):
            for flag in value.split(","):
                self._from_environment(_plain(flag), required=name == "fromenv")
        else:
            self.values[name] = self._boolean(name, value) if self._known[name] else value

    def _boolean(self, name: str, value: str) -> str:
        if value.lower() in _TRUE:
            return "true"
        if value.lower() in _FALSE:
            return "false"
        raise UsageError(f"--{name}={value}: expected true or false")

    def _from_environment(self, name: str, required: bool) -> None:
        value = os.environ.get(f"FLAGS_{name}")
        if name not in self._known:
            self._unknown.append(name)
        elif value is not None:
            self._assign(name, value)
        elif required:
            raise UsageError(f"--fromenv={name}: there is no environment variable FLAGS_{name}")

    def _read_file(self, path: str) -> None:
        if path in self._files:
            raise UsageError(f"--flagfile={path}: the file includes itself")
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise UsageError(f"--flagfile={path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"--flagfile={path}: byte {error.start}: not UTF-8") from error
        self._files.append(path)
        is_meant, in_names = True, False
        for number, line in enumerate(map(str.strip, lines), 1):
            if not line or line.startswith("#"):
                continue
            if not line.startswith("-"):
                # the following lines are for the programs whose names match these patterns
                is_meant = (in_names and is_meant) or self._is_named(line)
            elif is_meant:
                self._read_line(line, f"{path}:{number}")
            in_names = not line.startswith("-")
        self._files.pop()

    def _is_named(self, patterns: str) -> bool:
        return any(fnmatch(program, Path(pattern).name) for pattern in patterns.split() for program in self._programs)

    def _read_line(self, line: str, place: str) -> None:
        match = _FLAG.fullmatch(line)
        name = self._name(match[1]) if match else None
        value = self._given_value(match, name) if match and name else None
        if name is None or value is None:
            why = "there is no such flag" if name is None else f"it has no value: expected --{name}=..."
            self._warn(f"{place}: {line!r} is ignored: {why}")
            return
        try:
            self._assign(name, value)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from error

    def _check_unknown(self) -> None:
        for name in self._unknown:
            if not {name, name.removeprefix("no")} & self._undefok:
                raise UsageError(
                    f"No such option: --{name}; {suggest(f'--{name}', [f'--{flag}' for flag in self._main])}"
                )


def _plain(name: str) -> str:
    return name.replace("-", "_")
