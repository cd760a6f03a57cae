"""Cut weights are exactly 0 and frozen ones exactly powers of two, after every step of every optimizer."""

from __future__ import annotations

import pytest
import torch

import demitasse
from demitasse.methods.method import Method
from demitasse.methods.records import FROZEN
from tests.methods.playground import OPTIMIZERS, batches, check, net, train, weights

each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


@each_optimizer
def test_cut_weights_are_zero_after_every_step(name: str) -> None:
    model = net()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.8, ramp=100)
    moved = 0

    def look() -> None:
        nonlocal moved
        check(model, surgery)
        for mask in surgery.masks().values():
            moved += int((~mask).sum())

    train(model, optimizer, 200, after=look)
    assert surgery.report().sparsity == pytest.approx(0.8, abs=1e-3)
    assert moved > 0


@each_optimizer
def test_pruned_weights_are_zero_after_every_step_and_never_return(name: str) -> None:
    model = net()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    pruning = demitasse.MagnitudePruning(model, optimizer, sparsity=0.8, ramp=100)
    before = pruning.masks()

    def look() -> None:
        check(model, pruning)
        for key, mask in pruning.masks().items():
            assert not (mask & ~before[key]).any()
            before[key] = mask

    train(model, optimizer, 200, after=look)
    assert pruning.report().sparsity == pytest.approx(0.8, abs=1e-3)


@each_optimizer
@pytest.mark.parametrize("per", ["tensor", "channel"])
def test_frozen_weights_are_powers_of_two_and_still_after_every_step(name: str, per: str) -> None:
    model = net()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=(0.5, 0.9, 1), per=per)  # type: ignore[arg-type]
    steps = iter((100, 50, 50))
    for _ in quantize:
        frozen = {name: (record.status == FROZEN, record.values.clone()) for name, record in quantize.records.items()}

        def look(frozen=frozen) -> None:  # type: ignore[no-untyped-def]
            check(model, quantize)
            for key, (where, values) in frozen.items():
                assert torch.equal(quantize.records[key].values[where], values[where])

        train(model, optimizer, next(steps), after=look)
    assert quantize.report().frozen_share == 1


@each_optimizer
def test_free_weights_go_on_learning_as_without_us(name: str) -> None:
    """Surgery that cuts nothing, and quantization that has frozen nothing, change not a bit of the training."""
    results = []
    for attach in (False, True):
        model = net()
        optimizer = OPTIMIZERS[name](list(model.parameters()))
        methods: list[Method] = []
        if attach:
            methods = [
                demitasse.Surgery(model, optimizer, sparsity=0.0),
                demitasse.IncrementalQuantization(model, optimizer, bits=4),
            ]
        train(model, optimizer, 20)
        results.append(weights(model))
        assert all(method.iteration == 20 for method in methods)
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


def test_lbfgs_under_surgery() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.6, ramp=10)
    images, labels = next(batches(1))
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        check(model, surgery)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    for _ in range(20):
        losses.append(optimizer.step(closure).item())  # type: ignore[arg-type, union-attr]
        check(model, surgery)
    assert losses[-1] < losses[0]
    assert surgery.iteration == 20
    assert surgery.report().sparsity == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("portions", [(1.0,), (0.5, 1.0)])
def test_lbfgs_moves_free_weights_only(portions: tuple[float, ...]) -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")
    images, labels = next(batches(1))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        check(model, quantize)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        return loss

    quantize = demitasse.IncrementalQuantization(model, optimizer, bits=4, portions=portions)
    first = last = 0.0
    for _ in quantize:
        for _ in range(4):
            loss = optimizer.step(closure).item()  # type: ignore[arg-type, union-attr]
            first, last = first or loss, loss
            check(model, quantize)
    assert last < first
