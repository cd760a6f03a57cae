"""The flag that allows a net's Python layers to run their code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer

PythonLayers = Annotated[bool, typer.Option("--allow-python-layers", help="Run the code of the net's Python layers.")]


@contextmanager
def python_layers_run(allowed: bool) -> Iterator[None]:
    """Allows or forbids Python layers; if they are allowed, ``import caffe`` works in them."""
    from demitasse.caffe import python_layer

    with python_layer.allowing(allowed), ExitStack() as stack:
        if allowed:
            from demitasse import pycaffe

            stack.enter_context(pycaffe.as_caffe())
        yield
