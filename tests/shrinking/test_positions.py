"""The weights of the positions of sequences."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.shrinking.batches import run
from demitasse.shrinking.positions import position_weights
from demitasse.shrinking.targets import targets_of
from demitasse.shrinking.watching import ModelRunner


class Reader(nn.Module):
    """Looks at the first half of a sequence; the rest has large inputs of another kind, and hardly counts."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 24), nn.Linear(24, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.first(inputs).relu_()  # in place, on the output of the layer
        half = inputs.shape[1] // 2
        return self.second(found[:, :half].mean(1) + 1e-3 * found[:, half:].mean(1))


def sequences(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(2, 12, 12, generator=generator)
    inputs = torch.randn(count, 10, 12, generator=generator)
    return torch.cat([inputs[:, :5] @ mixed[0], 6 * inputs[:, 5:] @ mixed[1]], 1)


def weights_for(model: nn.Module, batches: list[Tensor]) -> dict[tuple[int, nn.Module], list[Tensor]]:
    return position_weights(ModelRunner(model, run), batches, targets_of(model, None, ())[0], 0)


def test_positions_that_hardly_count_have_small_weights() -> None:
    torch.manual_seed(0)
    model = Reader().eval()
    found = weights_for(model, list(sequences(40, 1).split(20)))
    assert set(found) == {(0, model.first), (1, model.first)}  # the other layer sees no sequences
    weights = torch.cat([calls[0] for calls in found.values()])
    assert weights.shape == (40, 10)
    assert float(weights.square().mean()) == pytest.approx(1, abs=1e-5)
    assert weights[:, 5:].max() < 0.1 * weights[:, :5].mean()


def test_outputs_are_nearer_than_with_positions_that_all_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    dense = Reader().eval()
    inputs, tests = sequences(60, 1), sequences(260, 1)[60:]
    errors = []
    for weigh in (True, False):
        if not weigh:
            monkeypatch.setattr("demitasse.shrinking.job.position_weights", lambda *_: {})
        model = copy.deepcopy(dense)
        demitasse.shrink(
            model, inputs, sparsity={"first.weight": 0.5}, bits={"first.weight": 3}, parameters=["first.weight"]
        )
        errors.append(float((model(tests) - dense(tests)).square().mean().detach()))
    assert errors[0] < 0.7 * errors[1]


def test_a_model_without_gradients_has_none() -> None:
    class Still(Reader):
        def forward(self, inputs: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(inputs)

    torch.manual_seed(0)
    assert weights_for(Still().eval(), [sequences(8, 1)]) == {}
    demitasse.shrink(Still().eval(), sequences(40, 1), bits=4)


def test_each_call_of_a_layer_has_its_own_weights() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def forward(self, inputs: Tensor) -> Tensor:
            return (100 * self.layer(self.layer(inputs))).mean(1)

    torch.manual_seed(0)
    model = Twice().eval()
    found = weights_for(model, [torch.randn(20, 4, 6)])
    first, second = found[0, model.layer]
    assert first.shape == second.shape == (20, 4)
    assert not torch.allclose(first, second)
    demitasse.shrink(model, torch.randn(40, 4, 6), bits=4)


class OfLengths(nn.Module):
    """Pads the outputs of a recurrent layer to the longest sequence of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.layer = nn.GRU(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        found, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.layer(found)


def test_positions_that_differ_between_examples_count_alike() -> None:
    torch.manual_seed(0)
    lengths = torch.cat([torch.arange(1, 9), torch.arange(4, 12)]).repeat_interleave(4)
    model, batch = OfLengths().eval(), {"inputs": torch.randn(64, 12, 6), "lengths": lengths}
    assert position_weights(ModelRunner(model, run), [batch], targets_of(model, None, ())[0], 0) == {}
    dense = copy.deepcopy(model)
    demitasse.shrink(model, [batch], bits=4)
    with torch.no_grad():
        assert (model(**batch) - dense(**batch)).square().mean() < 0.01 * dense(**batch).var()
