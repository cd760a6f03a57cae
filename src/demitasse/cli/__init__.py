"""The command ``demitasse``: parse, call, print. Each file of this folder registers a family of commands."""

from __future__ import annotations

import os
import re
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from io import TextIOWrapper

import typer

from demitasse._version import __version__
from demitasse.cli.flags import normalise
from demitasse.errors import DemitasseError
from demitasse.files import descriptor

_FAMILIES = (
    *("train", "convert", "upgrade", "compact", "pack", "export", "data", "compress", "sensitivity"),
    *("images", "draw", "logs", "demo"),
)


_NO_MEMORY = re.compile(r"can't allocate memory|out of memory|bad_alloc", re.IGNORECASE)


def _version(value: bool) -> None:
    if value:
        print(f"demitasse {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print version."),
) -> None:
    """Makes neural networks small: prune, quantize, pack; Caffe networks without Caffe.

    --debug with any command shows the whole traceback of an error.
    """


def build() -> typer.Typer:
    """Returns the application with all commands."""
    from importlib import import_module

    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.callback()(_root)
    for family in _FAMILIES:
        import_module(f"demitasse.cli.{family}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 failure, 2 wrong use."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    _show_all_characters()
    given = normalise([argument for argument in given if argument != "--debug"])
    try:
        with _messages_apart(given):
            build()(args=given, prog_name="demitasse", obj=[*given, *(["--debug"] if debug else [])])
    except DemitasseError as error:
        if debug:
            raise
        _fail(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        # the reader of a pipe has gone (`| head`); nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (OSError, MemoryError) as error:
        if debug:
            raise
        _fail(f"error: {str(error) or 'out of memory'}", 1)
    except Exception as error:
        if debug:
            raise
        if _NO_MEMORY.search(str(error)):  # which torch raises as any other failure
            _fail(f"error: out of memory: {str(error).splitlines()[0]}", 1)
        _fail(f"internal error: {type(error).__name__}: {error}\nRun again with --debug to see where.", 1)


def _show_all_characters() -> None:
    """Lets messages hold names of files that are not UTF-8, and any character on a terminal of few."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _messages_apart(arguments: list[str]) -> AbstractContextManager[object]:
    """Sends messages to standard error where the output goes to standard output."""
    places = [place for argument in arguments for place in (argument, argument.rpartition("=")[2])]
    if any(descriptor(place) == 1 for place in places):
        return redirect_stdout(sys.stderr)
    return nullcontext()


def _fail(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
