"""The classes of commands, and the groups that ``demitasse --help`` shows them in."""

from __future__ import annotations

import re
import sys
from typing import Any, get_args

from typer import BadParameter, Exit
from typer.core import TyperCommand, TyperGroup
from typing_extensions import override

from demitasse._version import __version__
from demitasse.caffe import glog
from demitasse.cli import inputs
from demitasse.cli.flags import normalise
from demitasse.cli.gflags import CommandLine
from demitasse.errors import UsageError
from demitasse.registry import suggest

# click's, wherever typer has it from
WrongUse: type[Any] = BadParameter.__mro__[1]

PYTORCH = "Compress a PyTorch model"
FILES = "Files"
RUN = "Caffe: train and test"
CONVERT = "Caffe: convert"
COMPACT = "Caffe: compact files"
DATA = "Caffe: data"
LOOK = "Caffe: look"
MORE = "More"

_HEXADECIMAL = re.compile("0[xX][0-9a-fA-F]+")
# what pydantic calls a fault -> what was wanted
_WANTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
}
_ENDS = {"help": "--help", "helpfull": "--help", "helpshort": "--help"}


class _Help:
    """What the help says of flags that are on or off: no type, as they take no value."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params


class Command(_Help, TyperCommand):
    """A command that also takes its flags with a single dash: ``-seed=1``."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Shows the help where there are no arguments; names a missing file before missing arguments."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        try:
            found = self.canonical(args)
            if not found and self.no_args_is_help:
                print_help(ctx)
                raise Exit(2)
            return super().parse_args(ctx, found)
        except WrongUse:
            inputs.check_noted_files(ctx)
            raise

    def canonical(self, args: list[str]) -> list[str]:
        """Returns the arguments as typer takes them."""
        return normalise(args)


class CaffeCommand(Command):
    """A command that takes its flags as gflags does, those of gflags and glog among them."""

    epilog_text = (
        "Flags are read as Caffe's programs read them: -flag=value, -flag value, -noflag, -flagfile=FILE. Flags of the "
        "log: -log_dir=FOLDER for a copy, -minloglevel=0 to 3, -log_year_in_prefix=true; the page docs/logs.md has all."
    )

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "epilog": settings.get("epilog") or self.epilog_text})
        self._settings = glog.GlogSettings()

    @override
    def canonical(self, args: list[str]) -> list[str]:
        options = {_plain(name): option for option in self.params for name in option.opts if name.startswith("--")}
        known = {name: bool(option.is_flag) for name, option in options.items()}  # type: ignore[attr-defined]
        ends = dict.fromkeys((*_ENDS, "version"), True)
        further = {**glog.FLAGS, **self.unused_flags(), **ends}
        line = CommandLine(known, further, ("caffe", str(self.name)), _warn).parse(args)
        if line.values.get("version") == "true":
            print(f"demitasse {__version__}")
            raise Exit
        for name in sorted(line.values.keys() & (self.unused_flags().keys() - known.keys())):
            _warn(f"{self.name}: --{name} has no meaning here, and is ignored")
        self._settings = glog.GlogSettings.from_flags(
            {name: line.values[name] for name in line.values.keys() & glog.FLAGS.keys()}
        )
        given = [_ENDS[name] for name in line.values if name in _ENDS]
        for name, value in line.values.items():
            if name in options:
                given += _spelt(options[name], value)
        return [*given, *(["--", *line.arguments] if line.arguments else [])]

    def unused_flags(self) -> dict[str, bool]:
        """Returns flags of the same program in Caffe that this command has no use for."""
        return {}

    @override
    def invoke(self, ctx: Any) -> Any:
        """Runs the command, with a log as the flags say."""
        with glog.configured(self._settings):
            return super().invoke(ctx)


class CaffeAction(CaffeCommand):
    """An action of the program ``caffe``, which takes the flags of all its actions with each of them."""

    _OF_CAFFE = ("gpu", "solver", "model", "phase", "level", "stage", "snapshot", "weights", "iterations")

    @override
    def unused_flags(self) -> dict[str, bool]:
        return dict.fromkeys((*self._OF_CAFFE, "sigint_effect", "sighup_effect"), False)


class Commands(_Help, TyperGroup):
    """All commands."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts flags that come before a command of Caffe's behind it: ``-gpu=0 train`` is ``train -gpu=0``."""
        own = {name for param in self.params for name in param.opts} | {"--help"}
        first = f"--{args[0].lstrip('-').partition('=')[0]}" if args and args[0].startswith("-") else ""
        at = next((i for i, word in enumerate(args) if isinstance(self.commands.get(word), CaffeCommand)), 0)
        if first in own:
            args = [f"--{args[0].lstrip('-')}", *args[1:]]
        elif first and at:
            args = [args[at], *args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Says which command is nearest to one that does not exist."""
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing:
            near = suggest(name, list(self.commands))
            known = "`demitasse --help` lists the commands" if near.startswith("known") else near
            raise UsageError(f"No such command {name!r}; {known}")
        return super().resolve_command(ctx, args)


def print_help(ctx: Any) -> None:
    """Prints the help of a command."""
    # with rich it is printed at once, and the text is empty
    if text := ctx.get_help():
        print(text)


def _plain(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def usage_message(error: Any) -> str:
    """Returns what is wrong with the use of a command, in plain words: typer passes on pydantic's."""
    if near := getattr(error, "possibilities", None):
        return f"No such option: {error.option_name}; did you mean {near[0]!r}?"
    details: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    detail: dict[str, Any] = details[0] if details else {"type": "", "ctx": {}}
    wanted = _WANTED.get(detail["type"])
    if not wanted:
        return str(error.format_message())
    return f"{error.param.opts[0]}: expected {wanted.format(**detail.get('ctx', {}))}, found {detail['input']!r}"


def _is_whole(option: Any) -> bool:
    kind = option.type_descriptor.annotation if hasattr(option, "type_descriptor") else option.type
    return int in (kind, *get_args(kind)) or getattr(kind, "name", "") == "integer"


def _spelt(option: Any, value: str) -> list[str]:
    """Returns an option and its value as typer takes them."""
    if not option.is_flag:
        is_hexadecimal = _HEXADECIMAL.fullmatch(value) and _is_whole(option)
        return [f"{option.opts[0]}={int(value, 16) if is_hexadecimal else value}"]
    return list(option.opts[:1] if value == "true" else option.secondary_opts[:1])


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)
