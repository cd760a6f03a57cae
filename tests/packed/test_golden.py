"""Files of each version: they are written and read, byte for byte, as they were when the format was settled.

A test that fails here says that the format has changed: then the version changes, and the old files are still read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demitasse.packed.file import File
from demitasse.packed.tensor import DTYPES, Tensor, of_array
from demitasse.packed.writer import pack
from tests.packed.test_file import equal

FOLDER = Path(__file__).parent / "golden"


class Numbers:
    """Random numbers that no library changes.

    Reference: Marsaglia 2003, Xorshift RNGs (Journal of Statistical Software 8/14), the 32-bit generator.
    """

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self, count: int) -> np.ndarray:
        """Returns integers of 32 bits."""
        out = []
        for _ in range(count):
            self.state ^= self.state << 13 & 0xFFFFFFFF
            self.state ^= self.state >> 17
            self.state ^= self.state << 5 & 0xFFFFFFFF
            out.append(self.state)
        return np.array(out, np.uint32)


def weights(shape: tuple[int, ...], kept: int, powers: int, seed: int) -> np.ndarray:
    """Returns weights of which ``kept`` of 256 are not zero: powers of two, or, with 0 powers, any."""
    numbers = Numbers(seed).next(int(np.prod(shape)))
    if powers:
        values = np.ldexp(np.float32(1), -(numbers >> 8).astype(np.int64) % powers) * (1 - 2.0 * (numbers >> 31))
    else:
        values = (numbers.astype(np.int64) - (1 << 31)) / (1 << 33)
    return np.where(numbers % 256 < kept, values, 0).astype(np.float32).reshape(shape)


def scaled(shape: tuple[int, ...], axis: int, seed: int) -> np.ndarray:
    """Returns whole numbers up to 7 times scales of rows, or of the second axis."""
    numbers = Numbers(seed).next(int(np.prod(shape))).reshape(shape)
    chosen = Numbers(seed + 1).next(shape[axis])
    scales = np.ldexp(1 + chosen % 8 / 8, (chosen >> 8).astype(np.int64) % 3 - 9)
    return ((numbers % 15 - 7.0) * np.expand_dims(scales, tuple(k for k in range(len(shape)) if k != axis))).astype(
        "f4"
    )


def lenet() -> list[Tensor]:
    """Returns a small net, pruned to powers of two, with the names that Caffe gives."""
    shapes = {"conv1": (6, 1, 3, 3), "conv2": (8, 6, 3, 3), "ip1": (20, 72), "ip2": (10, 20)}
    found = []
    for number, (name, shape) in enumerate(shapes.items()):
        found.append(of_array(f"{name}.0", weights(shape, 40, 5, 11 + number)))
        found.append(of_array(f"{name}.1", weights(shape[:1], 100, 3, 21 + number)))
    return found


def bits(dtype: str, size: int) -> Tensor:
    """Returns a tensor of any bits."""
    kind = next(kind for kind in DTYPES if kind.name == dtype)
    shape = kind.stored((size,))
    numbers = Numbers(31).next(int(np.prod(shape)) * kind.size) % (2 if dtype == "bool" else 256)
    return Tensor(dtype, kind, shape, numbers.astype(np.uint8).view(kind.bits.newbyteorder("<")).astype(kind.bits))


def case(*arrays: tuple[str, np.ndarray], **options: Any) -> dict[str, Any]:
    """Returns what pack is given."""
    return {"tensors": [of_array(name, array) for name, array in arrays], **options}


CASES: dict[str, dict[str, Any]] = {
    "empty": case(),
    "lenet": {"tensors": lenet(), "metadata": {"caffe": "Convolution Convolution InnerProduct InnerProduct"}},
    "floats": case(("fc.weight", weights((12, 30), 60, 0, 3)), ("fc.bias", weights((12,), 256, 0, 4))),
    "listed": case(("w", (Numbers(5).next(600) % 11).astype(np.int16).reshape(20, 30) - 5)),
    "types": {"tensors": [bits(kind.name, 9) for kind in DTYPES[:15]], "signed_zeros": True},
    "more_types": {"tensors": [bits(kind.name, 9) for kind in DTYPES[15:]], "signed_zeros": True},
    "shapes": case(("one", np.array(2.5)), ("none", np.zeros((0, 3))), ("zeros", np.zeros(99))),
    "tied": case(("wte", weights((9, 7), 99, 2, 6)), aliases={"head": "wte"}, metadata={"größe": "klein"}),
    "symbols": case(("w", weights((128, 128), 20, 5, 7)), smallest=False),
    "planes": case(("w", weights((128, 128), 4, 0, 8).view(np.int32) % 1000 + 7), smallest=False),
    "rows": case(
        ("conv", scaled((8, 4, 3, 3), 0, 41)),
        ("transposed", scaled((12, 20), 1, 43).astype(np.float16)),
        ("powers", weights((12, 40), 200, 3, 45) * np.exp2(np.arange(12) * 5 % 12 - 9)[:, None].astype("f4")),
    ),
    "rows_in_planes": case(("w", scaled((70, 256), 0, 47)), ("b", scaled((128, 130), 1, 49)), smallest=False),
    "zeros_apart": case(("w", weights((64, 256), 4, 0, 9)), ("b", np.ones(3)), smallest=False),
}


NEWER = {"rows", "rows_in_planes"}  # files of version 2


def path(name: str) -> Path:
    return FOLDER / f"{name}.{1 + (name in NEWER)}.demi"


@pytest.mark.parametrize("name", CASES)
def test_what_is_written(name: str) -> None:
    assert pack(**CASES[name]) == path(name).read_bytes()


@pytest.mark.parametrize("name", CASES)
def test_what_is_read(name: str) -> None:
    with File(path(name)) as file:
        named = {tensor.name: tensor for tensor in file.tensors()}
        assert file.header.metadata == CASES[name].get("metadata", {})
    given = {tensor.name: tensor for tensor in CASES[name]["tensors"]}
    for alias, tensor in CASES[name].get("aliases", {}).items():
        given[alias] = given[tensor]._replace(name=alias)
    assert named.keys() == given.keys()
    assert all(equal(named[key], given[key]) for key in given)


if __name__ == "__main__":
    for each, arguments in CASES.items():
        path(each).write_bytes(pack(**arguments))
