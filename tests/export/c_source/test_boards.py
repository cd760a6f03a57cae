"""Nets on simulated boards: the twin's integers, within the memory of the chip, without multiplication and floats."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.boards import BOARDS, Board
from demitasse.export import CReport, c
from demitasse.zoo.models import MODELS
from tests.export.c_source.compiling import mobilenet, to_powers

pytestmark = pytest.mark.slow


def board(name: str) -> Board:
    found = BOARDS[name]
    if missing := found.missing():
        pytest.skip(f"not installed: {', '.join(missing)} (Debian's packages)")
    return found


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet300": (lambda: MODELS["lenet300"](), (1, 28, 28)),
    "lenet5": (lambda: MODELS["lenet5"](), (1, 28, 28)),
    "resnet20": (lambda: MODELS["resnet20"](), (3, 8, 8)),
    "mobilenet": (mobilenet, (3, 32, 32)),
}


def exported(name: str, zeros: float, folder: Path, smallest: bool = False) -> tuple[CReport, torch.Tensor]:
    torch.manual_seed(0)
    made, shape = NETS[name]
    model = to_powers(made(), zeros)
    x = torch.rand(48, *shape, generator=torch.Generator().manual_seed(1))
    return c(model, x[:1], folder / "net.c", calibration=x.numpy(), bits=8, smallest=smallest), x[:32]


@pytest.mark.parametrize("smallest", [False, True])
@pytest.mark.parametrize(
    ("chip", "net", "zeros", "free"),
    [("ATmega328P", "lenet300", 0.987, 300), ("Cortex-M0", "lenet5", 0.996, 2048), ("RV32EC", "lenet300", 0.987, 300)],
)
def test_a_board_answers_as_the_twin_does(chip, net, zeros, free, smallest, tmp_path):
    report, x = exported(net, zeros, tmp_path, smallest)
    found = board(chip).run(report, {"images": x.double().numpy()}, tmp_path)
    assert np.array_equal(found.outputs, report.twin({"images": x.numpy()})["output"])
    assert found.flash <= 8192
    assert found.free >= free
    assert found.cycles > 0


MULTIPLICATION = re.compile(r"\t(mul\w*|fmul\w*|smull|umull|mla)\t")


@pytest.mark.parametrize("chip", list(BOARDS))
@pytest.mark.parametrize("net", NETS)
def test_there_is_no_multiplication_and_no_float(chip, net, tmp_path):
    """Compilers may compute the place of a band's first line by a multiplication, in functions of convolutions."""
    report, _ = exported(net, 0.987 if net.startswith("lenet") else 0.8, tmp_path)
    used, built = board(chip), tmp_path / "net.o"
    flags = [flag for flag in used.flags if flag.startswith(("-m", "-f"))]
    command = [f"{used.prefix}gcc", *flags, "-Os", "-std=c99", "-ffunction-sections", "-fno-inline", "-c"]
    subprocess.run([*command, report.files[0], "-o", built], check=True)

    def said(*command: str) -> str:
        return subprocess.run([*command, built], capture_output=True, text=True, check=True).stdout

    calls = said(f"{used.prefix}nm", "-u").split()
    assert not [each for each in calls if re.search(r"mul|div|sf|df|fadd|fcmp|f2i|i2f", each)]
    parts = re.split(r"^[0-9a-f]+ <(\w+)[^>]*>:$", said(f"{used.prefix}objdump", "-d"), flags=re.M)
    counts = {name: len(MULTIPLICATION.findall(body)) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    assert "net_run" in counts
    assert all(re.search("conv2d|pad", name) for name, count in counts.items() if count)
    assert max(counts.values()) <= 2
