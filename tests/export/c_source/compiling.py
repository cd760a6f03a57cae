"""Compiles generated C and runs it on inputs, for the tests of the C export."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZERS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

Numbers = npt.NDArray[np.float64]


def compiler(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package {name})")
    return found


def compiled(source: Path, by: str = "gcc", flags: list[str] = SANITIZERS) -> Path:
    """Returns the program of a net and its main file, compiled without a warning."""
    program = source.with_suffix("")
    main = source.with_name(f"{source.stem}_main.c")
    subprocess.run([compiler(by), "-std=c99", *WARNINGS, *flags, source, main, "-o", program], check=True)
    return program


def run(program: Path, inputs: npt.NDArray[np.float32], *arguments: str) -> Numbers:
    """Returns what a program prints for inputs, a row an input."""
    done = subprocess.run(
        [program, *arguments], input=np.ascontiguousarray(inputs, np.float32).tobytes(), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    return np.array([list(map(float, line.split())) for line in done.stdout.decode().splitlines()])


def as_cpp(source: Path, folder: Path) -> None:
    """Compiles a net as C++ without a warning."""
    command = [compiler("g++"), "-x", "c++", "-std=c++11", *WARNINGS, "-c", source, "-o", folder / "net.o"]
    subprocess.run(command, check=True)


@torch.no_grad()
def to_powers(model: nn.Module, zeros: float = 0.0) -> nn.Module:
    """Rounds the weights of a model to powers of two, the smallest ones to zero; statistics become random."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight
            rounded = weight.sign() * 2.0 ** weight.abs().clamp(min=1e-6).log2().round().clamp(-6, 0)
            cut = weight.abs().flatten().sort().values[min(int(zeros * weight.numel()), weight.numel() - 1)]
            weight.copy_(torch.where(weight.abs() < cut, 0.0, rounded))
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2), (module.weight, 0.5, 2),
                (module.bias, -0.2, 0.2),
            ):  # fmt: skip
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)
    return model.eval()


def mobilenet() -> nn.Module:
    """MobileNet v1 of width 0.25 for 96 pixels (Howard et al. 2017, table 1)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    channels = 8
    for outputs, stride in [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2), (256, 1)]:
        layers += [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels)]
        layers += [nn.ReLU(), nn.Conv2d(channels, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10), nn.Softmax(1))
