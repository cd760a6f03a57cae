"""Reads a .demi file, and the weights in files of any format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from demitasse.errors import FileFormatError, shortened, visible
from demitasse.report.inspection import inspect
from demitasse.report.page.run import Run
from demitasse.report.page.sentences import percent, size
from demitasse.report.page.weights import WeightView, view

_LONGEST_FACT = 80


def read_packed_file(path: Path, name: str) -> Run:
    """Returns what a .demi file holds.

    Args:
        path: the file.
        name: its name on the page.

    Raises:
        FileFormatError: the file is missing, cut short or corrupt.
    """
    found = inspect(path)
    present = sum(row.present for row in found.rows)
    short = {key: text for key, text in found.metadata.items() if len(text) <= _LONGEST_FACT and "\n" not in text}
    return Run(
        name=name,
        title=path.name,
        sentence=(
            f"The file holds {len(found.rows)} tensor{'' if len(found.rows) == 1 else 's'} "
            f"with {found.count:,} values, of which {present:,} "
            f"({percent(present / max(found.count, 1))}) are not zero, in {found.size:,} bytes: "
            f"{found.ratio:,.1f} times smaller than float32."
        ),
        facts={"size": size(found.size), "header": size(found.header), **short},
        file=found,
        weights=weights_of(path),
        texts={key: shortened(text) for key, text in found.metadata.items() if key not in short},
    )


def weights_of(path: Path) -> Sequence[WeightView]:
    """Returns the tensors in a file of any format, without those that are not floating-point numbers.

    Raises:
        FileFormatError: the file is missing, cut short, corrupt or of another format.
    """
    from demitasse.formats import load

    tensors = {name: tensor for name, tensor in load(path).items() if tensor.is_floating_point()}
    for name, tensor in tensors.items():
        # a tensor of another layout, or one that repeats a few values without end, would not fit in memory
        if tensor.layout != torch.strided or tensor.is_meta or _bytes(tensor) > tensor.untyped_storage().nbytes():
            raise FileFormatError(
                f"{path}: {shortened(visible(name))}: the file does not hold every value of this tensor; expected a "
                "dense tensor"
            )
    return [view(name, tensor.detach().float().numpy()) for name, tensor in tensors.items()]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
