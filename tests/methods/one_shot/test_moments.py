"""The second moments of inputs, and how much of them is chance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from demitasse.methods.one_shot.moments import InputMoments, Moments


def found(*chunks: Tensor, dense: list[Tensor] | None = None, weights: Tensor | None = None) -> InputMoments:
    moments = Moments()
    for number, chunk in enumerate(chunks):
        moments.add(chunk, None if dense is None else dense[number], weights)
    return moments.statistics()


def share(moments: InputMoments) -> float:
    """The share by which the correlations become smaller."""
    before, after = moments.hessian[0], moments.steadied().hessian[0]
    assert torch.allclose(before.diagonal(), after.diagonal())
    return 1 - float(after[0, 1] / before[0, 1])


def mixed(count: int, columns: int = 20, seed: int = 0) -> Tensor:
    mixing = torch.randn(columns, columns, generator=torch.Generator().manual_seed(99))
    return (mixing @ torch.randn(columns, count, generator=torch.Generator().manual_seed(seed))).unsqueeze(0)


def test_sums_are_those_of_the_definition() -> None:
    inputs, dense = mixed(31), mixed(31, seed=1)
    one = found(*inputs.split(9, 2), dense=list(dense.split(9, 2)))
    x, left = inputs.double(), (dense - inputs).double()
    assert torch.allclose(one.hessian, x @ x.mT, rtol=1e-5, atol=1e-3)
    assert torch.allclose(one.cross, left @ x.mT, rtol=1e-5, atol=1e-3)
    assert torch.allclose(one.mean, x.mean(2), atol=1e-5)
    assert torch.allclose(one.drift, left.mean(2), atol=1e-5)
    assert one.count == 31


def test_whole_weights_are_repeated_columns() -> None:
    inputs, dense = mixed(30), mixed(30, seed=1)
    counts = torch.randint(0, 4, (30,), generator=torch.Generator().manual_seed(0))
    one = found(inputs, dense=[dense], weights=counts.float())
    other = found(inputs.repeat_interleave(counts, 2), dense=[dense.repeat_interleave(counts, 2)])
    assert one.count == other.count
    for name in ("hessian", "cross", "mean", "drift"):
        assert torch.allclose(getattr(one, name), getattr(other, name), atol=1e-3), name


def test_the_share_of_chance_falls_with_the_number_of_inputs() -> None:
    shares = [share(found(mixed(count))) for count in (100, 1000, 10000)]
    assert shares[0] > 3 * shares[1] > 9 * shares[2] > 0


def test_inputs_that_are_alike_count_as_fewer() -> None:
    few, alike, many = mixed(100), mixed(100).repeat_interleave(10, 2), mixed(1000)
    assert share(found(alike)) == pytest.approx(share(found(few)), rel=0.01)
    assert share(found(alike)) > 4 * share(found(many))


def test_unrelated_inputs_keep_hardly_any_correlation() -> None:
    inputs = torch.randn(1, 40, 60, generator=torch.Generator().manual_seed(3))
    assert share(found(inputs)) > 0.8


@pytest.mark.parametrize("columns", [20, 1100])
def test_centred_moments_are_those_of_centred_inputs(columns: int) -> None:
    """Also of so many columns that some rows alone are compared."""
    inputs, dense = mixed(200, columns), mixed(200, columns, seed=1)
    moved = [inputs + 5, dense + 7]
    one = found(moved[0], dense=[moved[1]]).centred().steadied()
    centre = inputs.mean(2, keepdim=True)
    other = found(inputs - centre, dense=[dense - dense.mean(2, keepdim=True)]).steadied()
    scale = float(other.hessian.abs().max())
    assert torch.allclose(one.hessian, other.hessian, atol=1e-3 * scale)
    assert torch.allclose(one.cross, other.cross, atol=1e-3 * scale)


def test_differences_to_the_dense_inputs_that_are_chance_are_dropped() -> None:
    inputs = mixed(400)
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(5))
    chance, told = (found(inputs, dense=[inputs + part]) for part in (noise, 0.3 * inputs.roll(1, 1)))
    for moments, least, most in ((chance, 0.0, 0.5), (told, 0.9, 1.0)):
        kept = moments.steadied().cross
        off = ~torch.eye(20, dtype=torch.bool)
        assert least <= float(kept[0][off].norm() / moments.cross[0][off].norm()) <= most


def test_one_input_is_all_chance() -> None:
    steadied = found(mixed(1)).steadied().hessian[0]
    assert torch.equal(steadied, torch.diag_embed(steadied.diagonal()))


def test_hessians_are_symmetric() -> None:
    moments = found(torch.rand(1, 9, 500, generator=torch.Generator().manual_seed(0)) / 3 + 1)
    assert torch.equal(moments.hessian, moments.hessian.mT)
