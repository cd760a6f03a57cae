"""Converts a binary caffemodel to protobuf text, including all numbers."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format

from demitasse.caffe.models.caffemodel import read_net_message
from demitasse.caffe.tools.say import Say, silent
from demitasse.files import write_text


def parse_model(model: str | Path, out: str | Path, say: Say = silent) -> None:
    """Writes a model as text.

    Raises:
        FileFormatError: the model cannot be read.
    """
    say("Parsing binary caffemodel ...")
    text = text_format.MessageToString(read_net_message(model, text=True))
    say(f"Saving file: {out} ...")
    write_text(out, text)
    say(f"Success: file saved as {out}")
