"""``python -m demitasse.warm``: compiles all loops and caches them, so that their first use does not have to wait.

It is for building images of containers. It runs everything that uses loops on small data; loops compiled later are
cached as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from demitasse import loops
from demitasse.caffe.images.resizing import Resized, copy_window
from demitasse.methods import fused
from demitasse.methods.incremental import IncrementalQuantization
from demitasse.methods.surgery import Surgery
from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES, Tensor
from demitasse.packed.weight import PackedWeight
from demitasse.packed.weights import weights_of
from demitasse.packed.writer import pack

# rows of a matrix that is coded in planes, and of one that is large enough for several threads and for a sample
_ROWS, _SIDE = 96, 1024


def warm(say: Callable[[str], None] = print) -> None:
    """Compiles the loops of packing, surgery, quantization and images.

    Args:
        say: prints a line of progress.
    """
    for what, run in (("files", _files), ("methods", _methods), ("images", _images)):
        say(f"compiling the loops of {what} ...")
        run()
    say("cached in " + (", ".join(map(str, loops.kept())) or "the folders that they were loaded from"))


def _files() -> None:
    tensors = list(_tensors())
    for smallest in (True, False):
        with File(pack(tensors, smallest=smallest)) as file:
            list(file.tensors())
            for weight in weights_of(file).values():
                if isinstance(weight, PackedWeight):
                    weight.columns(2)
                    weight.rows(2)


def _tensors() -> Iterator[Tensor]:
    """Yields matrices of every type: with many distinct values, with few, and with many of which most are zero."""
    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        shape = (_ROWS, _ROWS // 2, 2) if dtype.complex else (_ROWS, _ROWS)
        many = rng.integers(0, 2 if dtype.name == "bool" else 256, (_ROWS**2, dtype.size), np.uint8)
        few = many[rng.integers(0, 4, len(many))]
        for name, values in (("many", many), ("few", few), ("rare", many * (rng.random((len(many), 1)) < 0.1))):
            bits = np.ascontiguousarray(values.astype(np.uint8)).view(dtype.bits).reshape(-1)
            yield Tensor(f"{dtype.name}.{name}", dtype, shape, bits)


def _methods() -> None:
    threads = torch.get_num_threads()
    for count, side in ((1, 8), (1, _SIDE), (2, _SIDE)):
        torch.set_num_threads(count)
        for method in (_prune, _quantize, _caffe):
            method(side)
    torch.set_num_threads(threads)


def _prune(side: int) -> None:
    model = nn.Linear(side, side)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    _train(model, optimizer, Surgery(model, optimizer, sparsity=0.5, ramp=0))


def _quantize(side: int) -> None:
    model = nn.Linear(side, side)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    _train(model, optimizer, IncrementalQuantization(model, optimizer, bits=4))


def _train(model: nn.Linear, optimizer: torch.optim.Optimizer, method: Surgery | IncrementalQuantization) -> None:
    for _ in range(2):
        model(torch.ones(1, model.in_features)).sum().backward()
        optimizer.step()
    method.finish()


def _caffe(side: int) -> None:
    weight, mask = torch.ones(side, side), torch.ones(side, side, dtype=torch.bool)
    fused.apply_mask(weight, mask, torch.empty_like(weight))
    fused.operate(weight, mask, torch.empty_like(weight), 0.1, 0.2)
    for free in (None, mask):
        fused.sgd(weight, weight.clone(), weight.clone(), momentum=0.9, rate=0.1, free=free)


def _images() -> None:
    pixels = np.zeros((4, 5, 4), np.uint8)
    image, window = pixels.transpose(2, 0, 1)[:3], (slice(0, 3), slice(0, 3), slice(0, 3))
    for out in (np.zeros((3, 3, 3), np.float32), np.zeros((3, 3, 3), np.uint8)):
        for mirror in (False, True):
            copy_window(image, window, mirror, out)
            copy_window(Resized(image, 8, 8), window, mirror, out)


if __name__ == "__main__":
    warm()
