"""Kernels for ARM's NEON compute the same, in an emulator of such a processor."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import llvmlite.binding as llvm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demitasse.runtime.native import program
from demitasse.runtime.native.llvm import Machine
from demitasse.runtime.native.lowering import LOWER, base
from tests.contract import test_native_operations as contract
from tests.contract.native_cases import CASES
from tests.runtime.native.nets import NETS, WHOLE_NETS, agree, net
from tests.runtime.native.replay import Kernels, Tools

pytestmark = pytest.mark.slow

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


@pytest.fixture(autouse=True, scope="module")
def emulated(kernels: Kernels) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (base, program):
            patch.setattr(module, "address", kernels.address)
        patch.setattr(base, "Program", kernels.programs())
        yield


@pytest.mark.parametrize("kind", list(LOWER))
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_drawn_nets(kind: str, data: st.DataObject) -> None:
    case = CASES[kind](data.draw)
    contract.agree(case, data.draw(st.sampled_from([1, 2, 5, 9])), data.draw(st.integers(1, 3)), NEON)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
def test_a_grid_of_convolutions(kernel: int) -> None:
    contract.test_a_grid_of_convolutions(kernel, NEON)


@pytest.mark.parametrize("powers", [False, True])
def test_a_grid_of_inner_products(powers: bool) -> None:
    contract.test_a_grid_of_inner_products(powers, NEON)


@pytest.mark.parametrize("name", NETS)
def test_nets(name: str) -> None:
    built = net(NETS[name])
    for batch, threads in ((1, 1), (3, 2), (9, 1)):
        agree(built, batch, threads, NEON)


@pytest.mark.parametrize("name", WHOLE_NETS)
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
def test_whole_nets(name: str, density: float) -> None:
    built = net(*WHOLE_NETS[name], density)
    for batch, threads in ((1, 1), (8, 3)):
        agree(built, batch, threads, NEON)
