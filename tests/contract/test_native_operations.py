"""Every operation with native kernels computes what PyTorch computes: the nets below have them all."""

from __future__ import annotations

import pytest

from demitasse.runtime.native.lower import LOWER
from tests.runtime.native.nets import NETS, agree, graph, net

# operations that only PyTorch modules have, tested with them
OF_MODULES = {"GlobalMean": "tests/runtime/test_optimize.py"}


@pytest.mark.parametrize("name", NETS)
def test_nets(name: str) -> None:
    built = net(NETS[name])
    for batch, threads in ((1, 1), (2, 3)):
        agree(built, batch, threads)


@pytest.mark.parametrize("kind", list(LOWER))
def test_an_operation_is_in_a_net(kind: str) -> None:
    kinds = {step.kind for text in NETS.values() for step in graph(net(text)).steps}
    assert kind in kinds | set(OF_MODULES), "write a net with it in tests/runtime/native/nets.py"
