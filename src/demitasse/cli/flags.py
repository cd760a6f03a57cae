"""Flags with a single dash, as in Caffe: ``-seed=1`` and ``-seed 1``; and the flags that messages show."""

from __future__ import annotations

import re

# parameter of the library -> flag, if the flag is not the parameter's name; Caffe's flags have one dash
_FLAGS = {
    "cpu": "-cpu",
    "gpu": "-gpu",
    "input_shapes": "--input-shape",
    "keep": "--blob",
    "parameters": "--only",
    "preparation": "--size, --channels, --mean and --scale",
    "python_layer.allowing(True)": "--allow-python-layers",
    "restart_all": "--restart",
}


def flag(parameter: str, value: object = None) -> str:
    """Returns the flag for a parameter of the library, with its value if given; see :func:`named_by`."""
    word = _FLAGS.get(parameter, f"--{parameter.replace('_', '-')}")
    if value is None or value is True:
        return word
    return f"{word} {value}" if word.startswith("--") else f"{word}={value}"


def normalise(arguments: list[str]) -> list[str]:
    """Returns the arguments with a second dash before long flags that have one; underscores stay.

    ``-solver=x`` and ``-solver x`` become ``--solver=x`` and ``--solver x``. Numbers such as ``-1`` and
    everything after ``--`` are left unchanged.
    """
    result: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return result + arguments[index:]
        result.append(f"-{argument}" if re.match(r"-[A-Za-z]\w", argument) else argument)
    return result
