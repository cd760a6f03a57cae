"""Every operation with native kernels is in a net that tests/runtime/native/test_plan.py computes on each machine."""

from __future__ import annotations

import pytest

from demitasse.runtime.native.lowering import LOWER
from tests.runtime.native.nets import NETS, graph, net

# operations that only PyTorch modules have, tested with them
OF_MODULES = {"GlobalMean": "tests/runtime/test_optimize.py"}


@pytest.mark.parametrize("kind", list(LOWER))
def test_an_operation_is_in_a_net(kind: str) -> None:
    kinds = {step.kind for text in NETS.values() for step in graph(net(text)).steps}
    assert kind in kinds | set(OF_MODULES), "write a net with it in tests/runtime/native/nets.py"
