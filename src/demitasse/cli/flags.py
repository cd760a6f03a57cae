"""Flags with a single dash, as in Caffe: ``-seed=1`` and ``-seed 1``."""

from __future__ import annotations

import re


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
