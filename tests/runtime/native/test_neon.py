"""Kernels for ARM's NEON compute the same, in an emulator of such a processor."""

from __future__ import annotations

import shutil

import llvmlite.binding as llvm
import pytest

from demitasse.runtime.native import program
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import base
from tests.runtime.native.nets import NETS, WHOLE_NETS, agree, net
from tests.runtime.native.replay import Kernels, Tools

NEON = Machine("aarch64-linux-gnu", "generic", "+neon", 4, 32)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("there is no aarch64-linux-gnu-gcc (gcc-aarch64-linux-gnu) or no qemu-aarch64 (qemu-user)")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return Kernels(Tools(compiler, emulator), tmp_path_factory.mktemp("neon"))


@pytest.fixture(autouse=True)
def emulated(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (base, program):
        monkeypatch.setattr(module, "address", kernels.address)
    monkeypatch.setattr(base, "Program", kernels.programs())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_every_kernel(name: str) -> None:
    built = net(NETS[name])
    for batch, threads in ((1, 1), (3, 2), (9, 1)):
        agree(built, batch, threads, NEON)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE_NETS)
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_whole_nets(name: str, density: float) -> None:
    built = net(*WHOLE_NETS[name], density)
    for batch, threads in ((1, 1), (8, 3)):
        agree(built, batch, threads, NEON)
