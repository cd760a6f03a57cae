"""The command ``demitasse``: parses arguments, calls the library, prints. Each file here registers related commands."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import NoReturn

import typer

from demitasse._version import __version__
from demitasse.cli import streams
from demitasse.cli.commands import Commands, WrongUse, print_help, usage_message
from demitasse.cli.flags import flag
from demitasse.errors import DemitasseError, is_out_of_memory, named_by, visible
from demitasse.files import descriptor

# file of commands -> their names, in the order of the help
FAMILIES = {
    "compress": ("compress", "recipes"),
    "sensitivity": ("sensitivity",),
    "shrink": ("shrink",),
    "pack": ("pack", "unpack", "inspect"),
    "inference": ("run", "bench"),
    "train": ("train", "test", "time", "device_query"),
    "images": ("classify", "detect"),
    "convert": ("dns_to_normal", "inq_to_normal", "model2INQ_raw", "parse_model"),
    "export": ("export",),
    "upgrade": ("upgrade_net_proto_text", "upgrade_net_proto_binary", "upgrade_solver_proto_text"),
    "compact": (
        *("encode_compact", "dns_inq2compact", "encode_compact48", "sqznet_inq_compact", "dns_model_compress"),
        *("decode_compact", "decode_compact48", "sqznet_inq_decompact", "dns_decompress", "deep_compression_to_caffe"),
    ),
    "data": (
        *("convert_mnist_data", "convert_mnist_siamese_data", "convert_cifar_data", "convert_imageset"),
        *("create_annoset", "compute_image_mean", "extract_features"),
    ),
    "draw": ("draw_net",),
    "logs": ("parse_log", "plot_log"),
    "demo": ("demo", "examples"),
    "report": ("report",),
}


def _version(value: bool) -> None:
    if value:
        print(f"demitasse {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Make neural networks small: prune, quantize, pack. Run Caffe networks without Caffe.

    --help after a command shows its flags; --debug with any command shows the whole traceback of an error.
    """
    if context.invoked_subcommand is None:
        print_help(context)


def build(command: str = "") -> typer.Typer:
    """Returns the application with all its commands; only with those of one file, if that is known to have the command.

    Args:
        command: the command that is going to be run.
    """
    from importlib import import_module

    app = typer.Typer(cls=Commands, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback(invoke_without_command=True)(_root)
    for family in [name for name, commands in FAMILIES.items() if command in commands] or FAMILIES:
        import_module(f"demitasse.cli.{family}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Runs one command and exits: code 0 for success, 1 for failure, 2 for wrong use, 130 when interrupted.

    Args:
        arguments: the words of the command line; None takes those of this process.
    """
    streams.protect()
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    if "_DEMITASSE_COMPLETE" in os.environ:
        build()(prog_name="demitasse")  # the shell asks for completions
    try:
        with _messages_apart(given), named_by(flag):
            code = _run([argument for argument in given if argument != "--debug"], given)
    except DemitasseError as error:
        if debug:
            raise
        _fail(f"error: {error}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", 130)
    except OSError as error:
        if debug:
            raise
        _fail(f"error: {error}", 1)
    except Exception as error:
        if debug:
            raise
        if is_out_of_memory(error):
            _fail(f"error: out of memory: {str(error) or 'the command needs more memory than this machine has'}", 1)
        _fail(f"internal error: {type(error).__name__}: {error}\nRun again with --debug to see the traceback.", 1)
    if failure := streams.stdout_failure():
        _fail(f"error: standard output: {failure.strerror}", 1)
    sys.exit(code)


def _run(arguments: list[str], given: list[str]) -> int:
    """Runs one command and returns its exit code; ``given`` are the arguments it passes to the processes it starts."""
    command = typer.main.get_command(build(*arguments[:1]))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            with command.make_context("demitasse", list(arguments), obj=given) as context:
                command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except WrongUse as error:
        place = error.ctx.command_path if error.ctx else "demitasse"
        _fail(f"error: {usage_message(error)}\nTry '{place} --help' for help.", error.exit_code)
    return 0


def _warn(message: Warning | str, *place: object, **rest: object) -> None:
    """Prints a warning in the form of the command's errors, without the source line that raised it."""
    print(f"warning: {_without_controls(str(message))}", file=sys.stderr)


def _messages_apart(arguments: list[str]) -> AbstractContextManager[object]:
    """Sends messages to standard error if the command writes its output file to standard output."""
    places = [place for argument in arguments for place in (argument, argument.rpartition("=")[2])]
    if any(descriptor(place) == 1 for place in places):
        return redirect_stdout(sys.stderr)
    return nullcontext()


def _fail(message: str, code: int) -> NoReturn:
    print(_without_controls(message), file=sys.stderr)
    sys.exit(code)


def _without_controls(message: str) -> str:
    """Escapes what a file's name in a message could tell the terminal; line breaks stay."""
    return "\n".join(map(visible, message.split("\n")))
