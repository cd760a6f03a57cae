"""Converts files of old forms to the current form, as text or binary."""

from __future__ import annotations

from pathlib import Path

from demitasse.caffe import schema
from demitasse.caffe.models.caffemodel import read_net_message, write_net_message
from demitasse.caffe.text import prototxt
from demitasse.caffe.tools.say import Say, silent
from demitasse.caffe.upgrade import upgrade_net, upgrade_solver
from demitasse.files import write_text


def upgrade_net_text(source: str | Path, out: str | Path, say: Say = silent) -> None:
    """Writes a net's prototxt in the current form.

    Raises:
        PrototxtError: the source is not a net; the message has file and line.
        NetError: a layer has no counterpart in the current form, or the net mixes forms.
    """
    net = prototxt.read_net_text(source)
    before = net.SerializeToString()
    _write_text(upgrade_net(net, str(source), prototxt.places(source)), out)
    _report(say, source, out, net.SerializeToString() != before)


def upgrade_net_binary(source: str | Path, out: str | Path, say: Say = silent) -> None:
    """Writes a binary caffemodel in the current form, with the same blobs.

    Raises:
        FileFormatError: the source is cut short or of another format.
        NetError: a layer has no counterpart in the current form, or the net mixes forms.
    """
    net = read_net_message(source)
    before = net.SerializeToString()
    write_net_message(upgrade_net(net, str(source)), out)
    _report(say, source, out, net.SerializeToString() != before)


def upgrade_solver_text(source: str | Path, out: str | Path, say: Say = silent) -> None:
    """Writes a solver's prototxt in the current form.

    Raises:
        PrototxtError: the source is not a solver, or has its type in both forms.
    """
    solver = prototxt.read_solver(source)
    is_old = solver.HasField("solver_type")
    _write_text(upgrade_solver(solver), out)
    _report(say, source, out, is_old)


def _write_text(message: schema.Message, out: str | Path) -> None:
    write_text(out, str(message))


def _report(say: Say, source: str | Path, out: str | Path, changed: bool) -> None:
    say(f"{out}: written in the current form" if changed else f"{out}: written; {source} already had the current form")
