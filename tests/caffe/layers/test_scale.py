"""Scale and Bias whose second bottom covers the batch, as the gate of squeeze-and-excitation does."""

from __future__ import annotations

import pytest
import torch

from demitasse.caffe import schema
from demitasse.runtime import optimize
from tests.golden.single import single_net


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_second_bottom_that_covers_the_batch_takes_any_batch(kind: str, batch: int) -> None:
    net = single_net(kind, f"{kind.lower()}_param {{ axis: 0 }}", (2, 3, 4, 5), (2, 3), phase=schema.TEST)
    data, gate = torch.randn(batch, 3, 4, 5), torch.randn(batch, 3)
    expected = data * gate[:, :, None, None] if kind == "Scale" else data + gate[:, :, None, None]
    feed = dict(zip(net.inputs, (data, gate), strict=True))
    for run in (net, optimize(net)):
        (top,) = run(feed).values()
        torch.testing.assert_close(top, expected)
