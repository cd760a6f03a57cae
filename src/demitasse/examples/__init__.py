"""The examples: nets and solvers that run as they are. README.md beside this file says how."""

from __future__ import annotations

import shutil
from pathlib import Path

from demitasse.errors import UsageError

_HERE = Path(__file__).parent
_LOOPS = "pytorch"  # training loops for torchrun


def names() -> list[str]:
    """Returns the names of the Caffe examples, such as ``lenet5``."""
    return sorted(found.parent.name for found in _HERE.glob("*/train_val.prototxt"))


def copy_example(name: str, folder: Path) -> None:
    """Copies the files of one example into ``folder/name``, over those that are there.

    Raises:
        UsageError: there is no such example.
    """
    known = [*names(), _LOOPS]
    if name not in known:
        raise UsageError(f"no example {name!r}; there are {', '.join(known)}")
    leave = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_HERE / name, folder / name, dirs_exist_ok=True, ignore=leave)


def copy_examples(folder: Path) -> list[Path]:
    """Copies all examples and their README into a folder, which is made where it is missing.

    Returns:
        What was written.

    Raises:
        UsageError: one of them is there already; nothing is overwritten.
    """
    examples = [*names(), _LOOPS]
    targets = [folder / name for name in (*examples, "README.md")]
    for target in targets:
        if target.exists():
            raise UsageError(f"{target} exists already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name in examples:
        copy_example(name, folder)
    shutil.copy(_HERE / "README.md", folder)
    return targets
