"""Padded batches of sequences: what the model does not look at does not count."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import demitasse


class Tagger(nn.Module):
    """Keyword arguments as models of Hugging Face take them; the padding has inputs of its own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 5)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.second(self.first(self.table(input_ids)).relu())
        return (found * attention_mask.unsqueeze(2)).sum(1)  # (n, 5)


def batch(lengths: list[int], length: int, seed: int) -> dict[str, Tensor]:
    tokens = torch.randint(1, 20, (len(lengths), length), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(length) < torch.tensor(lengths).unsqueeze(1)).long()
    return {"input_ids": tokens * mask, "attention_mask": mask}


def test_padding_does_not_count() -> None:
    torch.manual_seed(0)
    dense = Tagger().eval()
    with torch.no_grad():
        dense.table.weight[0] *= 30
    lengths = [9, 4, 7, 2] * 16
    padded = [batch(lengths, 9, seed) for seed in range(3)]
    longer = [{name: nn.functional.pad(tensor, (0, 11)) for name, tensor in one.items()} for one in padded]
    results = []
    for batches in (padded, longer):
        model = copy.deepcopy(dense)
        demitasse.shrink(model, batches, bits=3, sparsity=0.4)
        results.append(model)
    for (name, one), other in zip(results[0].named_parameters(), results[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name


def test_a_float_mask_or_one_without_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    dense = Tagger().eval()
    full = batch([6] * 48, 6, 1)
    results = []
    for given in (full, {**full, "attention_mask": full["attention_mask"].float()}):
        model = copy.deepcopy(dense)
        demitasse.shrink(model, given, bits=3)
        results.append(model.second.weight)
    assert torch.equal(*results)
