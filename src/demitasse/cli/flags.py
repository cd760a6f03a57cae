"""Flags with a single dash, as in Caffe: ``-seed=1`` and ``-seed 1``; and what messages call parameters."""

from __future__ import annotations

import re

# parameters of the library -> flags, where a flag is not the parameter's name; with one dash those of Caffe
_FLAGS = {
    "cpu": "-cpu",
    "gpu": "-gpu",
    "input_shapes": "--input-shape",
    "python_layer.allowing(True)": "--allow-python-layers",
    "restart_all": "--restart",
}


def flag(parameter: str, value: object = None) -> str:
    """Returns the flag of a parameter of the library, with a value if there is one to give: see :func:`named_by`."""
    word = _FLAGS.get(parameter, f"--{parameter.replace('_', '-')}")
    if value is None or value is True:
        return word
    return f"{word} {value}" if word.startswith("--") else f"{word}={value}"


def normalise(arguments: list[str]) -> list[str]:
    """Returns the arguments with single-dash long flags doubled and underscores kept.

    ``-solver=x`` and ``-solver x`` become ``--solver=x`` and ``--solver x``; numbers such as ``-1`` and
    everything after ``--`` stay.
    """
    result: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return result + arguments[index:]
        result.append(f"-{argument}" if re.match(r"-[A-Za-z]\w", argument) else argument)
    return result
