"""The options of pack that say how images are prepared, and what the classes are called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demitasse.cli.inputs import existing
from demitasse.cli.text_files import read_lines
from demitasse.errors import DataError, UsageError
from demitasse.preparation import Parts

Size = Annotated[
    str | None,
    typer.Option(metavar="HEIGHTxWIDTH", help="Size that images are resized to; by default that of the net's input."),
]
Crop = Annotated[
    str | None,
    typer.Option(metavar="HEIGHTxWIDTH", help="Centre of the image that is kept; by default what the net takes."),
]
Channels = Annotated[
    str | None, typer.Option(help="grey, rgb or bgr; by default grey for one channel and bgr, as in Caffe, for three.")
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS|FILE",
        help="Subtracted from pixels of 0 to 255: one number, one for each channel, or a mean file, to be averaged.",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="Factor after the mean is subtracted: one number, or one for each channel."),
]
Classes = Annotated[
    Path | None, typer.Option(help="File with the names of the classes, one a line.", callback=existing)
]


def parts(size: str | None, crop: str | None, channels: str | None, mean: str | None, scale: str | None) -> Parts:
    """Returns the fields of a preparation that are given.

    Raises:
        UsageError: an option has another form.
        DataError, FileFormatError: the mean file cannot be read.
    """
    found: Parts = {}
    if size is not None:
        found["size"] = _sides("size", size)
    if crop is not None:
        found["crop"] = _sides("crop", crop)
    if channels is not None:
        found["channels"] = channels
    if mean is not None:
        found["mean"] = _numbers(mean) or _mean_of_file(mean)
    if scale is not None:
        numbers = _numbers(scale)
        if not numbers:
            raise UsageError(f"--scale {scale}: expected numbers, separated by commas")
        found["scale"] = numbers
    return found


def class_names(path: Path | None) -> list[str] | None:
    """Returns the lines of a file of names.

    Raises:
        DataError: it cannot be read, or has no lines.
    """
    if path is None:
        return None
    names = read_lines(path)
    if not names:
        raise DataError(f"{path}: found no names; expected one a line")
    return names


def _sides(flag: str, text: str) -> tuple[int, int]:
    sides = text.replace(",", "x").split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise UsageError(f"--{flag} {text}: expected height and width, such as 256x256, or one number for both")
    return int(sides[0][:9]), int(sides[-1][:9])


def _numbers(text: str) -> tuple[float, ...]:
    """Returns the numbers of a text; none if it is something else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()


def _mean_of_file(name: str) -> tuple[float, ...]:
    from demitasse.cli.means import read_mean_file

    mean = read_mean_file(Path(name))
    return tuple(mean.reshape(len(mean), -1).mean(1).tolist())
