"""Classes of commands, and the groups under which ``demitasse --help`` lists them."""

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

# click's UsageError, which typer may take from click or from its own copy
WrongUse: type[Any] = BadParameter.__mro__[1]
# a context, an option or an error of click, whose types typer does not export
Click = Any

PYTORCH = "Compress a PyTorch model"
FILES = "Files"
RUN = "Caffe: train and test"
CONVERT = "Caffe: convert"
COMPACT = "Caffe: compact files"
DATA = "Caffe: data"
LOOK = "Caffe: look"
MOST_SEED = 2**32 - 1
MORE = "More"

_HEXADECIMAL = re.compile("0[xX][0-9a-fA-F]+")
# pydantic's name of an error -> what was expected
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
    """Mixin that shows boolean flags without a type in the help, since they take no value."""

    def get_params(self, ctx: Click) -> Click:
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False) and param.metavar is None:
                param.metavar = ""
        return params


class Command(_Help, TyperCommand):
    """A command that also accepts its flags with a single dash: ``-seed=1``."""

    @override
    def parse_args(self, ctx: Click, args: list[str]) -> list[str]:
        """Shows the help if there are no arguments; reports a missing file before missing arguments."""
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
        """Returns the arguments in the form that typer parses."""
        return normalise(args)


class CaffeCommand(Command):
    """A command that parses its flags like gflags, and also accepts the flags of gflags and glog themselves."""

    epilog_text = (
        "Flags are written as for Caffe's programs: -flag=value, -flag value, -noflag, -flagfile=FILE. Logging flags: "
        "-log_dir=FOLDER (writes a copy), -minloglevel=0 to 3, -log_year_in_prefix=true; docs/logs.md lists all."
    )

    def __init__(self, *args: Click, **settings: Click) -> None:
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
            _warn(f"{self.name}: --{name} has no meaning here and is ignored")
        self._settings = glog.GlogSettings.from_flags(
            {name: line.values[name] for name in line.values.keys() & glog.FLAGS.keys()}
        )
        given = [_ENDS[name] for name in line.values if name in _ENDS]
        for name, value in line.values.items():
            if name in options:
                given += _spelt(options[name], value)
        return [*given, *(["--", *line.arguments] if line.arguments else [])]

    def unused_flags(self) -> dict[str, bool]:
        """Returns the flags of the same Caffe program that this command ignores: name -> whether it is boolean."""
        return {}

    @override
    def invoke(self, ctx: Click) -> Click:
        """Runs the command with logging configured by the flags."""
        with glog.configured(self._settings):
            return super().invoke(ctx)


class CaffeAction(CaffeCommand):
    """An action of the program ``caffe``. As in Caffe, each action accepts the flags of all actions."""

    _OF_CAFFE = ("gpu", "solver", "model", "phase", "level", "stage", "snapshot", "weights", "iterations")

    @override
    def unused_flags(self) -> dict[str, bool]:
        return dict.fromkeys((*self._OF_CAFFE, "sigint_effect", "sighup_effect"), False)


class Commands(_Help, TyperGroup):
    """The group of all commands."""

    @override
    def parse_args(self, ctx: Click, args: list[str]) -> list[str]:
        """Moves flags before a Caffe command to after it: ``-gpu=0 train`` becomes ``train -gpu=0``."""
        own = {name for param in self.params for name in param.opts} | {"--help"}
        first = f"--{args[0].lstrip('-').partition('=')[0]}" if args and args[0].startswith("-") else ""
        at = next((i for i, word in enumerate(args) if isinstance(self.commands.get(word), CaffeCommand)), 0)
        if first in own:
            args = [f"--{args[0].lstrip('-')}", *args[1:]]
        elif first and at:
            args = [args[at], *args[:at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    @override
    def resolve_command(self, ctx: Click, args: list[str]) -> Click:
        """Raises an error that names the nearest command if there is no such command."""
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing:
            near = suggest(name, list(self.commands))
            known = "`demitasse --help` lists the commands" if near.startswith("known") else near
            raise UsageError(f"No such command {name!r}; {known}")
        return super().resolve_command(ctx, args)


def print_help(ctx: Click) -> None:
    """Prints the help of a command."""
    # with rich, get_help prints the text itself and returns an empty one
    if text := ctx.get_help():
        print(text)


def _plain(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def usage_message(error: Click) -> str:
    """Returns a plain message for a usage error; typer would pass on pydantic's wording."""
    if near := getattr(error, "possibilities", None):
        return f"No such option: {error.option_name}; did you mean {near[0]!r}?"
    details: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not details or details[0]["type"] not in _WANTED:
        return str(error.format_message())
    wanted = _WANTED[details[0]["type"]].format(**details[0].get("ctx", {}))
    return f"{error.param.opts[0]}: expected {wanted}, found {details[0]['input']!r}"


def _is_whole(option: Click) -> bool:
    kind = option.type_descriptor.annotation if hasattr(option, "type_descriptor") else option.type
    return int in (kind, *get_args(kind)) or getattr(kind, "name", "") == "integer"


def _spelt(option: Click, value: str) -> list[str]:
    """Returns an option and its value in the form that typer parses."""
    if not option.is_flag:
        is_hexadecimal = _HEXADECIMAL.fullmatch(value) and _is_whole(option)
        return [f"{option.opts[0]}={int(value, 16) if is_hexadecimal else value}"]
    return list(option.opts[:1] if value == "true" else option.secondary_opts[:1])


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)
