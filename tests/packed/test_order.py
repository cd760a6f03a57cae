"""Hidden units reordered and removed: the same net, a smaller file."""

from __future__ import annotations

import numpy as np
import pytest

from demitasse.errors import UsageError
from demitasse.packed.order import reorder
from demitasse.packed.tensor import Tensor, of_array
from demitasse.packed.units import Hidden, Link
from demitasse.packed.writer import pack

LINKS = [
    Link(("conv.0", "conv.1"), ("ip1.0",), ("conv.0", "conv.1")),
    Link(("ip1.0", "ip1.1"), ("ip2.0",), ("ip1.0", "ip1.1")),
]


def net(seed: int = 0) -> list[Tensor]:
    """Returns a pruned net, units of which differ in their number of weights: conv -> ReLU -> ip1 -> ReLU -> ip2."""
    rng = np.random.default_rng(seed)
    arrays = {
        "conv.0": sparse(rng, (12, 2, 3, 3)),
        "conv.1": sparse(rng, (12,)),
        "ip1.0": sparse(rng, (40, 12 * 4)),
        "ip1.1": sparse(rng, (40,)),
        "ip2.0": sparse(rng, (5, 40)),
        "ip2.1": sparse(rng, (5,)),
    }
    return [of_array(name, array) for name, array in arrays.items()]


def sparse(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    kept = rng.random(shape) < rng.gamma(0.4, 0.5, (shape[0], *(1 for _ in shape[1:])))
    return (np.where(kept, np.exp2(rng.integers(-3, 0, shape)), 0) * rng.choice([-1, 1], shape)).astype(np.float32)


def outputs(tensors: list[Tensor]) -> np.ndarray:
    """Runs a net on whole numbers: with weights that are powers of two all sums are exact, in any order."""
    held = {tensor.name: tensor.array().astype(np.float64) for tensor in tensors}
    images = np.random.default_rng(1).integers(-9, 10, (64, 2, 4, 4)).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), (2, 3))
    maps = np.einsum("nchwij,ocij->nohw", windows, held["conv.0"]) + held["conv.1"][:, None, None]
    hidden = np.maximum(maps, 0).reshape(len(images), -1) @ held["ip1.0"].T + held["ip1.1"]
    result: np.ndarray = np.maximum(hidden, 0) @ held["ip2.0"].T + held["ip2.1"]
    return result


@pytest.mark.parametrize("remove_dead", [False, True])
@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_net_computes_the_same(seed: int, search: bool, remove_dead: bool) -> None:
    tensors = net(seed)
    found = reorder(tensors, LINKS, search, remove_dead, budget=200_000)
    assert [tensor.name for tensor in found.tensors] == [tensor.name for tensor in tensors]
    assert np.array_equal(outputs(found.tensors), outputs(tensors))
    assert np.array_equal(found.tensors[-1].bits, tensors[-1].bits)
    for order, count in zip(found.orders, (12, 40), strict=True):
        assert len(set(order)) == len(order) <= count
        assert remove_dead or len(order) == count
        assert search or (np.diff(order) > 0).all()
    assert found.tensors[0].shape == (len(found.orders[0]), 2, 3, 3)
    assert found.tensors[2].shape == (len(found.orders[1]), 4 * len(found.orders[0]))


def test_the_file_is_smaller_and_smaller() -> None:
    tensors = net()
    moved, removed = (reorder(tensors, LINKS, remove_dead=each, budget=1_000_000).tensors for each in (False, True))
    assert len(pack(removed)) < len(pack(moved)) < len(pack(tensors))


def test_orders_tell_where_the_units_were() -> None:
    tensors = net()
    found = reorder(tensors, LINKS, remove_dead=True, budget=200_000)
    assert np.array_equal(found.tensors[1].array(), tensors[1].array()[found.orders[0]])
    columns = tensors[2].array().reshape(40, 12, 4)[found.orders[1]][:, found.orders[0]]
    assert np.array_equal(found.tensors[2].array(), columns.reshape(found.tensors[2].shape))


def test_the_same_order_every_time() -> None:
    one, other = (reorder(net(), LINKS, remove_dead=True, budget=300_000) for _ in range(2))
    assert all(np.array_equal(*both) for both in zip(one.orders, other.orders, strict=True))


def test_without_budget_units_keep_their_order() -> None:
    found = reorder(net(), LINKS, budget=1000)
    assert all((order == np.arange(len(order))).all() for order in found.orders)


def chain(
    first: list[list[float]], bias: list[float], second: list[list[float]], third: list[list[float]]
) -> list[Tensor]:
    arrays = {"a.0": first, "a.1": bias, "b.0": second, "c.0": third}
    return [of_array(name, np.array(array, np.float32)) for name, array in arrays.items()]


CHAIN = [Link(("a.0", "a.1"), ("b.0",), ("a.0", "a.1")), Link(("b.0",), ("c.0",), ("b.0",))]


def test_dead_units() -> None:
    # of a: unit 0 gives nothing, 1 only its bias, 2 is used, 3 is used by a unit of b alone that nothing uses
    tensors = chain([[-0.0, 0], [0, 0], [1, 2], [3, 4]], [0, 5, 0, 0], [[1, 1, 1, 0], [0, 0, 0, 1]], [[1, 0]])
    found = reorder(tensors, CHAIN, search=False, remove_dead=True)
    assert [order.tolist() for order in found.orders] == [[1, 2], [0]]
    assert [tensor.array().tolist() for tensor in found.tensors] == [[[0, 0], [1, 2]], [5, 0], [[1, 1]], [[1]]]


def test_units_stay_where_zeros_do_not_silence_them() -> None:
    tensors = chain([[0, 0], [1, 2]], [0, 0], [[1, 1]], [[1]])
    found = reorder(tensors, [CHAIN[0]._replace(silent=()), CHAIN[1]], search=False, remove_dead=True)
    assert found.orders[0].tolist() == [0, 1]


def test_one_unit_is_left() -> None:
    tensors = chain([[0, 0], [0, 0]], [0, 0], [[0, 0], [0, 0]], [[0, 0]])
    found = reorder(tensors, CHAIN, search=False, remove_dead=True)
    assert [tensor.shape for tensor in found.tensors] == [(1, 2), (1,), (1, 1), (1, 1)]


def test_units_whose_weights_cannot_be_measured() -> None:
    rng = np.random.default_rng(0)
    # more different values than a palette holds, and none is zero
    tensors = chain(*(rng.normal(size=shape) for shape in ((100, 60), (100,), (70, 100), (2, 70))))
    found = reorder(tensors, CHAIN)
    assert all((order == np.arange(len(order))).all() for order in found.orders)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (Link(("a.0", "a.2"), ("b.0",)), r"there is no tensor 'a\.2' .* found a\.0, a\.1, b\.0, c\.0"),
        (Link(("a.0", "b.0"), ("c.0",)), r"b\.0 has shape \(3, 4\); expected 4 rows, like a\.0"),
        (Link(("a.0",), ("c.0",)), r"c\.0 has shape \(1, 3\); expected a multiple of 4 columns, for the units of a\.0"),
        (Link(("a.0",), ("a.1",)), r"a\.1 has shape \(4,\); expected a multiple of 4 columns"),
        (Link(("a.0",), ()), "hidden units need a tensor with their rows and one with their columns"),
    ],
)
def test_links_that_do_not_fit(link: Link, message: str) -> None:
    tensors = chain([[1, 2]] * 4, [0] * 4, [[1, 1, 1, 1]] * 3, [[1, 1, 1]])
    with pytest.raises(UsageError, match=message):
        reorder(tensors, [link])


def test_what_a_walk_has_found() -> None:
    assert Hidden(3, ["a.0"]).link() is None
    assert Hidden(3, ["a.0"], ["b.0"], fixed=True).link() is None
    assert Hidden(3, ["a.0"], ["b.0"], {("a.0",)}).link() == Link(("a.0",), ("b.0",), ("a.0",))
    assert Hidden(3, ["a.0"], ["b.0", "c.0"], {("a.0",), ()}).link() == Link(("a.0",), ("b.0", "c.0"))
