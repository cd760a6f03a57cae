"""The option that lets a recipe run code of its own: ``import = "package.module:function"``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

AllowImports = Annotated[
    bool,
    typer.Option(
        "--allow-imports",
        help="Let the recipe import its model and its data, which runs the code of these modules; modules in the "
        "working directory are found, too.",
    ),
]


@contextmanager
def importing(allowed: bool) -> Iterator[None]:
    """Lets the modules in the working directory be imported, as ``python -m`` does, if imports are allowed."""
    here = os.getcwd()
    if not allowed or here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
