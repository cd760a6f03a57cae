"""The examples: nets, solvers and training loops that run as they are. README.md in this folder explains them."""

from __future__ import annotations

import shutil
from pathlib import Path

from demitasse.errors import UsageError
from demitasse.files import make_folder, write_bytes

_HERE = Path(__file__).parent
_LOOPS = "pytorch"  # training loops for torchrun


def names() -> list[str]:
    """Returns the names of the Caffe examples, such as ``lenet5``."""
    return sorted(found.parent.name for found in _HERE.glob("*/deploy.prototxt"))


def copy_example(name: str, folder: Path) -> None:
    """Copies the files of one example to ``folder/name``, and overwrites existing ones.

    Raises:
        UsageError: there is no such example.
    """
    known = [*names(), _LOOPS]
    if name not in known:
        raise UsageError(f"there is no example {name!r}; expected one of {', '.join(known)}")
    for source in sorted((_HERE / name).rglob("*")):
        if source.is_file() and source.parent.name != "__pycache__":
            target = folder / name / source.relative_to(_HERE / name)
            make_folder(target.parent)
            write_bytes(target, source.read_bytes())


def copy_examples(folder: Path) -> list[Path]:
    """Copies all examples and their README to a folder, all or none of them; creates the folder if it is missing.

    Returns:
        The folders and the file that were written.

    Raises:
        UsageError: one of them already exists; nothing is overwritten.
        WriteError: the disk is full, or the folder cannot be written.
    """
    examples = [*names(), _LOOPS]
    targets = [folder / name for name in (*examples, "README.md")]
    for target in targets:
        if target.exists():
            raise UsageError(f"{target} already exists; give another folder")
    new = [] if folder.exists() else [folder]
    make_folder(folder)
    try:
        for name in examples:
            copy_example(name, folder)
        write_bytes(folder / "README.md", (_HERE / "README.md").read_bytes())
    except BaseException:
        for left in new or targets[:-1]:
            shutil.rmtree(left, ignore_errors=True)
        raise
    return targets
