"""The names that ``import demitasse`` offers: a change of this list is a change for users."""

from __future__ import annotations

import builtins
import subprocess
import sys

import demitasse

NAMES = [
    "IncrementalQuantization",
    "MagnitudePruning",
    "PackedFile",
    "Preparation",
    "Surgery",
    "__version__",
    "compress",
    "datasets",
    "dnn",
    "errors",
    "export",
    "formats",
    "integrations",
    "load",
    "methods",
    "optim",
    "optimize",
    "pack",
    "packed",
    "pycaffe",
    "recalibrate_batch_norm",
    "reorder_units",
    "runtime",
    "save",
    "sensitivity",
    "shrink",
    "unpack",
    "zoo",
]


def test_the_public_names_are_these_and_no_others() -> None:
    assert dir(demitasse) == demitasse.__all__ == NAMES
    run = subprocess.run(
        [sys.executable, "-c", "import demitasse; print(*dir(demitasse), sep=chr(10))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == NAMES


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in NAMES:
        found = getattr(demitasse, name)
        assert name == "__version__" or found.__doc__


def test_a_star_replaces_no_builtin() -> None:
    space: dict[str, object] = {}
    exec("from demitasse import *", space)
    assert not {name for name in space if hasattr(builtins, name) and not name.startswith("__")}
    assert demitasse.open is demitasse.PackedFile
