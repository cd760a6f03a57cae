"""Shares are exact, equal magnitudes included, and broken in one order whatever the layout and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.methods import compiled, exchange, ranking
from demitasse.methods.exchange import CUT, FREE, FROZEN, PRUNED, Scales
from demitasse.methods.method import Method
from demitasse.methods.ranking import Ranked
from demitasse.methods.records import Record
from tests.methods.playground import net, sgd

SHARES = (0.0, 0.01, 0.3, 0.5, 0.9, 1.0)
Values = Callable[[tuple[int, ...]], Tensor]
KINDS: dict[str, Values] = {
    "equal": lambda shape: torch.full(shape, 0.125) * torch.randn(shape).sign(),
    "zero": torch.zeros,
    "powers": lambda shape: torch.exp2(torch.randint(-6, 0, shape).float()) * torch.randn(shape).sign(),
    "rounded": lambda shape: torch.randn(shape).bfloat16().float(),
    "normal": torch.randn,
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def filled(model: nn.Module, kind: str) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(KINDS[kind](tuple(parameter.shape)))
    return model


def still_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """A step at rate 0: nothing moves, and the method decides."""
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


METHODS: dict[str, Callable[..., Method]] = {"surgery": demitasse.Surgery, "magnitude": demitasse.MagnitudePruning}


@each_kind
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_exact_with_ties(kind: str, method: str, scope: str, share: float) -> None:
    model = filled(net(), kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    attached = METHODS[method](model, optimizer, sparsity=share, scope=scope, ramp=0)
    still_step(model, optimizer)
    cut = [int((~mask).sum()) for mask in attached.masks().values()]
    if scope == "layer":
        assert cut == [int(share * 36 + 0.5), int(share * 1440 + 0.5)]
    assert sum(cut) == pytest.approx(share * 1476, abs=1 if scope == "layer" else 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_a_ramp_over_equal_magnitudes_is_exact_at_every_step(method: str) -> None:
    model = filled(net(), "equal")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    attached = METHODS[method](model, optimizer, sparsity=0.7, ramp=10)
    found = []
    for _ in range(12):
        still_step(model, optimizer)
        found.append(sum(int((~mask).sum()) for mask in attached.masks().values()))
    expected = [int(0.7 * 1476 * (1 - (1 - (min(step, 9) + 1) / 10) ** 3) + 0.5) for step in range(12)]
    assert found == expected


@pytest.mark.filterwarnings("ignore:Surgery leaves 0 of 36 weights")
@pytest.mark.parametrize("channels_last", [False, True])
def test_of_equal_magnitudes_the_first_are_cut(channels_last: bool) -> None:
    """By parameter, then by flat index: all of conv.weight (36), then 407 of fc.weight (1,440)."""
    model = filled(net(), "equal")
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.3, ramp=0, floor=0.0)
    still_step(model, optimizer)
    kept = surgery.masks()
    assert not kept["conv.weight"].any()
    assert kept["fc.weight"].flatten().tolist() == [False] * 407 + [True] * 1033


def test_ties_in_any_memory_format_are_broken_by_flat_index() -> None:
    found = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = nn.Conv2d(5, 6, 3).to(memory_format=memory_format)
        filled(model, "powers")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        surgery = demitasse.Surgery(model, optimizer, sparsity=0.4, ramp=0)
        still_step(model, optimizer)
        found.append(surgery.masks()["weight"])
    assert torch.equal(*found)


@each_kind
@pytest.mark.parametrize("settings", [{}, {"partition": "random"}, {"per": "channel"}], ids=str)
def test_portions_are_exact_with_ties(kind: str, settings: dict[str, Any]) -> None:
    model = filled(net(), kind)
    method = demitasse.IncrementalQuantization(model, sgd(model), bits=4, portions=(0.3, 0.55, 1.0), **settings)
    live = [int(torch.count_nonzero(record.values)) for record in method.records.values()]
    for portion in method:
        frozen = [record.count(FROZEN) for record in method.records.values()]
        assert frozen == pytest.approx([portion * number for number in live], abs=1)


@pytest.mark.filterwarnings("ignore:Surgery leaves 0 of 36 weights")
@pytest.mark.parametrize("channels_last", [False, True])
def test_of_equal_magnitudes_the_last_are_frozen_first(channels_last: bool) -> None:
    model = filled(nn.Conv2d(2, 4, 3), "equal")
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    method = demitasse.IncrementalQuantization(model, sgd(model), bits=4, portions=(0.25, 1.0))
    method.freeze()
    status = method.records["weight"].status
    assert status.flatten().tolist() == [FREE] * 54 + [FROZEN] * 18


def test_pruned_entries_count_towards_the_share() -> None:
    """They are zeros already: of equal magnitudes so many fewer are cut."""
    values = torch.full((10,), 0.5)
    status = torch.tensor([PRUNED, FREE, FREE, FREE, PRUNED, FREE, FREE, FREE, FREE, FREE]).byte()
    values[status == PRUNED] = 0
    (boundary,) = ranking.smallest([Ranked(values, values, status, values)], [10], 4)
    exchange.cut(values, status, torch.zeros(10), Scales(), boundary)
    assert status.tolist() == [PRUNED, CUT, CUT, FREE, PRUNED, FREE, FREE, FREE, FREE, FREE]


def of(values: Tensor) -> tuple[Ranked, Tensor]:
    status = torch.zeros_like(values, dtype=torch.uint8)
    return Ranked(values, values, status, torch.zeros_like(values)), status


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("most", [None, (30, 100, 0), (7, 3, 5), (60, 9, 20)], ids=str)
@pytest.mark.parametrize("k", [0, 1, 60, 130, 180])
@pytest.mark.parametrize("unit", [1, 200])
def test_the_smallest_of_several_parameters_within_bounds(
    kind: str, most: tuple[int, ...] | None, k: int, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sorting finds them: one after the other, unless its parameter has given what it may."""
    monkeypatch.setattr(compiled, "PARALLEL_FROM", 10_000)  # with thousands, a sample says where to look
    torch.manual_seed(1)
    numbers = [unit * number for number in (60, 100, 20)]
    k, most = unit * k, None if most is None else tuple(unit * number for number in most)
    tensors = [KINDS[kind]((number,)) * scale for number, scale in zip(numbers, (1, 2, 0.5), strict=True)]
    ranked = [of(tensor)[0] for tensor in tensors]
    found = [
        int(boundary.is_small(tensor.abs()).sum())
        for boundary, tensor in zip(ranking.smallest(ranked, numbers, k, most), tensors, strict=True)
    ]
    caps = list(most or numbers)
    owner = np.repeat(range(3), numbers)[np.argsort(torch.cat(tensors).abs().numpy(), kind="stable")]
    allowed = np.sum([(owner == one) & (np.cumsum(owner == one) <= caps[one]) for one in range(3)], 0)
    expected = [int(np.sum((owner == one) & allowed & (np.cumsum(allowed) <= k))) for one in range(3)]
    assert found == expected


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", ["equal", "powers", "normal", "rounded"])
@pytest.mark.parametrize("k", [1, 300_000, 1 << 20])
def test_many_entries(kind: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that threads share them, and that a sample says where to look; right also where it misleads."""
    torch.manual_seed(2)
    values = KINDS[kind](((1 << 20) + 77,))
    bounds = []
    for _ in range(2):
        ranked, status = of(values)
        (boundary,) = ranking.smallest([ranked], [values.numel()], k)
        bounds.append(boundary)
        exchange.cut(values.clone(), status, torch.zeros_like(values), Scales(), boundary)
        assert int((status == CUT).sum()) == k
        monkeypatch.setattr(ranking, "_span", lambda *arguments: (17, 18))
    assert bounds[0] == bounds[1]
    assert bounds[0].bound == values.abs().kthvalue(k).values


def test_one_pass_is_enough_where_magnitudes_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    run = compiled.run
    monkeypatch.setattr(compiled, "run", lambda name, *rest, **more: passes.append(name) or run(name, *rest, **more))
    model = nn.Linear(1024, 1200)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    demitasse.Surgery(model, optimizer, sparsity=0.9, ramp=3, gamma=0)
    for _ in range(3):
        passes.clear()
        still_step(model, optimizer)
        assert [name for name in passes if name not in ("put_back", "take_out")][:2] == ["gather", "cut_up_to"]


@pytest.mark.parametrize("shape", [(7,), (6, 5), (1 << 20,), (3, 4, 5, 5)], ids=str)
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_freezing_compiled_and_by_torch(
    shape: tuple[int, ...], channels: bool, random: bool, channels_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    values, order = torch.randn(shape), torch.rand(shape)
    values.view(-1)[:3] = torch.tensor([1e-42, 0.0, -300.0])
    if channels_last and len(shape) == 4:
        values, order = (t.contiguous(memory_format=torch.channels_last) for t in (values, order))
    tops = torch.randint(-2, 2, (shape[0],)) if channels else torch.tensor([0])
    found = []
    for flat in (compiled.flat, lambda *tensors: None):
        monkeypatch.setattr(compiled, "flat", flat)
        mine, status = values.clone(), torch.zeros_like(values, dtype=torch.uint8)
        by = order if random else mine
        (boundary,) = ranking.smallest([Ranked(mine, by, status, by)], [mine.numel()], mine.numel() // 3)
        clipped = exchange.freeze(mine, status, by, boundary, tops, 0, 3)
        assert int((status == FROZEN).sum()) == mine.numel() - mine.numel() // 3
        found.append((clipped, mine, status))
    (first, *one), (second, *other) = found
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_subnormal_numbers_are_frozen_at_subnormal_powers() -> None:
    values, status = torch.tensor([1e-45, 1e-42, 1e-39]), torch.zeros(3, dtype=torch.uint8)
    exchange.freeze(values, status, values, exchange.Boundary(0.0, 0), torch.tensor([-128]), 0, 20)
    assert values.tolist() == [0.0, 2.0**-140, 2.0**-130]


def test_records_are_ranked_by_what_they_hide() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.5, ramp=0)
    still_step(model, optimizer)
    before = surgery.masks()
    still_step(model, optimizer)
    assert all(torch.equal(mask, before[name]) for name, mask in surgery.masks().items())
    assert isinstance(next(iter(surgery.records.values())), Record)
