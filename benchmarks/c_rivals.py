"""The same LeNet-5 in C of other tools: flash and RAM on Cortex-M0, accuracy, and time on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

import demitasse
from demitasse.export import c
from demitasse.zoo.models import MODELS

_CHILD = Path(__file__).with_name("c_rivals_child.py")
_M0 = ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb", "-Os", "-std=c11"]


class Measured(NamedTuple):
    """A net in C of a tool.

    Attributes:
        tool: the tool and its version.
        arithmetic: of the net.
        accuracy: on the test images.
        flash: bytes of code and tables on Cortex-M0; of TFLite Micro, of the model alone.
        ram: bytes of the arena or of temporary arrays, and of input and output.
        microseconds: of processor time an input on this machine, with gcc -O2, reading and printing included.
    """

    tool: str
    arithmetic: str
    accuracy: float
    flash: int
    ram: int
    microseconds: float

    def cells(self) -> Sequence[str]:
        """Returns the row of a table."""
        return (
            self.tool, self.arithmetic, f"{self.accuracy:.2%}", f"{self.flash:,}", f"{self.ram:,}",
            f"{self.microseconds:,.0f}",
        )  # fmt: skip


class Images(NamedTuple):
    """Images as the net takes them, and the labels of those to test with."""

    calibration: np.ndarray
    tests: np.ndarray
    labels: np.ndarray


def rivals(dense: Path, small: nn.Module, images: Images, python: Path | None, folder: Path) -> Iterator[Measured]:
    """Yields the nets of this package, and those of the others.

    Args:
        dense: the weights of the dense LeNet-5, a state_dict.
        small: the pruned LeNet-5.
        images: images.
        python: of an environment with TensorFlow and the tools; None for none of them.
        folder: is written to.
    """
    model = MODELS["lenet5"]().eval()
    model.load_state_dict(torch.load(dense, weights_only=True))
    yield _ours("99.6 % zeros", small, images, "int", folder)
    yield _ours("dense", model, images, "float", folder)
    if python is not None:
        yield from _theirs(model, images, python, folder)
    demitasse.shrink(model, torch.from_numpy(images.calibration), bits=4, grid="pow2")
    yield _ours("dense, 4 bits without training", model, images, "int", folder)


def _ours(about: str, model: nn.Module, images: Images, arithmetic: str, folder: Path) -> Measured:
    calibration = images.calibration if arithmetic == "int" else None
    example = torch.from_numpy(images.tests[:1])
    report = c(model, example, folder / "net.c", arithmetic=arithmetic, calibration=calibration, main=True)
    header = report.files[1].read_text()
    bytes_of = {"uint8_t": 1, "int8_t": 1, "int16_t": 2, "float": 4}
    fields = re.findall(r"^    (\w+) \w+\[(\d+)\];", header, re.M)
    ram = report.written.layout.size + sum(bytes_of[ctype] * int(size) for ctype, size in fields)
    kind = "int, powers of two" if arithmetic == "int" else arithmetic
    return _measured(f"demitasse, {about}", kind, [folder / "net.c"], folder / "net_main.c", ram, images)


def _theirs(model: nn.Module, images: Images, python: Path, folder: Path) -> Iterator[Measured]:
    np.savez(folder / "weights.npz", **{name: tensor.numpy() for name, tensor in model.state_dict().items()})
    for name in Images._fields:
        np.save(folder / f"{name}.npy", getattr(images, name))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run([python, _CHILD, folder], check=True, capture_output=True, env=environment)
    for made in json.loads((folder / "rivals.json").read_text()):
        if "sources" not in made:
            yield Measured(**made)
            continue
        sources = [folder / each for each in made["sources"]]
        yield _measured(made["tool"], made["arithmetic"], sources, folder / made["main"], made["ram"], images)


def _measured(tool: str, arithmetic: str, sources: Sequence[Path], main: Path, ram: int, images: Images) -> Measured:
    program = main.with_suffix("")
    flags = ["-O2", "-std=c11", f"-I{main.parent}"]
    subprocess.run(["gcc", *flags, *sources, main, "-o", program, "-lm"], check=True)
    before = os.times()
    done = subprocess.run([program], input=images.tests.tobytes(), capture_output=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    scores = np.array([line.split() for line in done.stdout.decode().splitlines()], np.float64)
    flash = 0
    for source in sources:
        built = source.with_suffix(".o")
        subprocess.run([*_M0, f"-I{main.parent}", "-fstack-usage", "-c", source, "-o", built], check=True)
        size = subprocess.run(["arm-none-eabi-size", built], capture_output=True, text=True, check=True)
        flash += sum(map(int, size.stdout.splitlines()[1].split()[:2]))
        # temporary arrays that a tool has on the stack
        frames = [int(line.split("\t")[1]) for line in built.with_suffix(".su").read_text().splitlines()]
        ram += max([frame for frame in frames if frame >= 1024], default=0)
    return Measured(
        tool, arithmetic, float(np.mean(scores.argmax(1) == images.labels)), flash, ram, 1e6 * spent / len(images.tests)
    )
