"""What happens in and between steps: scalers, closures, accumulation, edits, failures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import demitasse
from demitasse.errors import MethodError
from demitasse.methods.records import CUT, FROZEN
from tests.methods.playground import backward, batches, check, net, pruned, same, sgd, train, weights


@pytest.mark.parametrize("kind", ["SGD", "fused SGD", "fused AdamW"])
def test_gradscaler_skips_leave_masks_alone(kind: str) -> None:
    model = net()
    if kind == "fused AdamW":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    else:
        optimizer = sgd(model, fused=kind == "fused SGD")
    surgery = pruned(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=10**6)
    for number, (images, labels) in enumerate(batches(12)):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        skipped = number % 3 == 2
        if skipped:
            model.fc.weight.grad[0, 0] = torch.inf  # type: ignore[index]
        before, masks = weights(model), surgery.masks()
        scaler.step(optimizer)
        scaler.update()
        check(model, surgery)
        if skipped:
            assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
            assert all(torch.equal(before[name], model.state_dict()[name]) for name in ("conv.weight", "fc.weight"))
    assert surgery.iteration == 8


def test_a_step_skipped_on_the_device_decides_nothing() -> None:
    """What a fused optimizer on a GPU leaves behind: found_inf as a tensor that the host does not read."""
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 4)
    before, masks = weights(model), surgery.masks()
    surgery.decide(torch.tensor(1.0))
    assert all(torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    surgery.decide(torch.tensor(0.0))
    assert any(not torch.equal(masks[name], mask) for name, mask in surgery.masks().items())
    check(model, surgery)


def test_gradient_clipping_and_accumulation() -> None:
    results = []
    for parts in (1, 2):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        nn.init.constant_(model[1].bias, 0)
        with torch.no_grad():
            model[1].weight.copy_(torch.linspace(-1, 1, 640).reshape(10, 64))
        optimizer = sgd(model)
        surgery = pruned(model, optimizer)
        for images, labels in batches(10):
            optimizer.zero_grad()
            for image, label in zip(images.chunk(parts), labels.chunk(parts), strict=True):
                (nn.functional.cross_entropy(model(image), label) / parts).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            check(model, surgery)
        assert surgery.iteration == 10
        results.append(weights(model))
    for key in results[0]:
        torch.testing.assert_close(results[0][key], results[1][key], atol=1e-5, rtol=1e-4)


def test_the_gradient_of_the_masked_weight_goes_to_cut_weights() -> None:
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, 1.0, 2.0, 3.0]]))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    surgery = demitasse.Surgery(model, optimizer, sparsity=0.25, ramp=0, gamma=0)
    record = surgery.records["weight"]
    for expected in (0.0, 0.0):
        model.zero_grad()
        (model(torch.tensor([[-0.4, 0.0, 0.0, 0.0]]))).sum().backward()
        optimizer.step()
        assert model.weight[0, 0] == expected
    # 0.1 -> 0.5 -> 0.9, in the reserve; then it outgrows the threshold and the smallest of the others goes
    assert record.ensure_reserve()[0, 0] == pytest.approx(0.9)
    for _ in range(2):
        model.zero_grad()
        (model(torch.tensor([[-0.4, 0.0, 0.0, 0.0]]))).sum().backward()
        optimizer.step()
    assert model.weight[0].tolist() == pytest.approx([1.7, 0.0, 2.0, 3.0])


@pytest.mark.parametrize("keyword", [False, True])
def test_a_closure_sees_effective_weights(keyword: bool) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    other = net()
    plain = sgd(other)
    twin = pruned(other, plain)
    for batch in batches(12):

        def closure(batch=batch) -> torch.Tensor:  # type: ignore[no-untyped-def]
            check(model, surgery)
            return backward(model, batch)

        loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
        assert isinstance(loss, torch.Tensor)
        backward(other, batch)
        plain.step()
    assert twin.iteration == surgery.iteration == 12
    assert same(model, other)


def test_load_state_dict_between_steps_wins() -> None:
    model = net()
    optimizer = sgd(model, momentum=0.0, weight_decay=0.0, lr=0.0)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    dense = {name: torch.full_like(tensor, 0.5) for name, tensor in surgery.masks().items()}
    dense = {name: torch.full(mask.shape, 0.5) for name, mask in dense.items()}
    model.load_state_dict(dense, strict=False)
    train(model, optimizer, 1)
    check(model, surgery)
    for record in surgery.records.values():
        dense_values = torch.where(record.status == CUT, record.ensure_reserve(), record.values)
        assert torch.equal(dense_values, torch.full_like(dense_values, 0.5))


@pytest.mark.parametrize("through_data", [False, True])
def test_edits_in_place_between_steps_win(through_data: bool) -> None:
    model = net()
    optimizer = sgd(model, momentum=0.0, weight_decay=0.0, lr=0.0)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)
    record = surgery.records["fc.weight"]
    row, column = (record.status == CUT).nonzero()[0].tolist()
    with torch.no_grad():
        (model.fc.weight.data if through_data else model.fc.weight)[row, column] = 9.0
    train(model, optimizer, 1)
    # larger than all others: it comes back
    assert model.fc.weight[row, column] == 9.0


@pytest.mark.parametrize("through_data", [False, True])
def test_edits_of_frozen_weights_are_put_onto_the_grid(through_data: bool) -> None:
    model = net()
    optimizer = sgd(model)
    quantize = demitasse.IncrementalQuantization(model, optimizer, exponents=4, portions=(0.5, 1.0))
    next(iter(quantize))
    record = quantize.records["fc.weight"]
    frozen = record.status == FROZEN
    with torch.no_grad():
        (model.fc.weight.data if through_data else model.fc.weight).mul_(0.7)
    train(model, optimizer, 1)
    check(model, quantize)
    assert model.fc.weight[frozen].any()


class Failing(torch.optim.SGD):
    def step(self, closure=None):  # type: ignore[no-untyped-def]
        loss = super().step(closure)
        if self.defaults["lr"] < 0.1:
            raise RuntimeError("half way")
        return loss


def test_a_step_that_raises_leaves_effective_weights() -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 10)

    def closure() -> torch.Tensor:
        raise RuntimeError("no loss today")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no loss today"):
            optimizer.step(closure)
        check(model, surgery)
    train(model, optimizer, 3, after=lambda: check(model, surgery))
    assert surgery.iteration == 13


def test_a_step_that_raises_where_no_guard_sees_it() -> None:
    """accelerate keeps the step that it found and puts it back: what was put before it is gone, hooks are not."""
    model = net()
    optimizer = Failing(model.parameters(), lr=0.05, momentum=0.9)
    surgery = pruned(model, optimizer, ramp=0)
    del optimizer.step
    optimizer.defaults["lr"] = 1.0
    train(model, optimizer, 5, after=lambda: check(model, surgery))
    optimizer.defaults["lr"] = 0.05
    backward(model, next(batches(1)))
    with pytest.raises(RuntimeError, match="half way"):
        optimizer.step()
    optimizer.defaults["lr"] = 1.0
    train(model, optimizer, 5, after=lambda: check(model, surgery))
    assert surgery.iteration == 10
    surgery.report()


def test_a_step_that_raises_after_its_update() -> None:
    model = net()
    optimizer = Failing(model.parameters(), lr=0.05, momentum=0.9)
    surgery = pruned(model, optimizer, ramp=0)
    optimizer.defaults["lr"] = 1.0
    train(model, optimizer, 5)
    optimizer.defaults["lr"] = 0.05
    backward(model, next(batches(1)))
    with pytest.raises(RuntimeError, match="half way"):
        optimizer.step()
    check(model, surgery)
    optimizer.defaults["lr"] = 1.0
    train(model, optimizer, 5, after=lambda: check(model, surgery))
    assert surgery.iteration == 10


def test_capture_of_a_cuda_graph_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    optimizer = sgd(model)
    surgery = pruned(model, optimizer)
    train(model, optimizer, 2)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr("demitasse.methods.hooks.on_cuda", lambda records: True)
    backward(model, next(batches(1)))
    with pytest.raises(MethodError, match="cannot be captured in a CUDA graph"):
        optimizer.step()
    check(model, surgery)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_capture_of_a_real_cuda_graph_raises() -> None:
    model = net().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pruned(model, optimizer)
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(MethodError, match="cannot be captured"), torch.cuda.graph(graph):
        optimizer.step()
