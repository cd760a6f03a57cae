"""Runs that skip what is finished see the same inputs as runs that do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.shrinking import replay
from demitasse.shrinking.batches import run
from demitasse.shrinking.survey import survey
from demitasse.shrinking.watching import ModelRunner
from tests.methods.playground import same


class Block(nn.Module):
    """Two convolutions, with a sum around them and activations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.relu(self.norm1(self.conv1(inputs)))
        return self.relu(self.norm2(self.conv2(found)) + inputs)


class Branches(nn.Module):
    """Blocks; a branch from the first layer to the last; operations between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(1, 4, 3), nn.Sequential(Block(), Block())
        self.pool, self.head, self.aside = nn.AvgPool2d(2), nn.Linear(36, 5), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        found = self.pool(self.blocks(torch.relu(stem)))
        return self.head(found.flatten(1)) + self.aside(stem.mean((2, 3)))


def model() -> Branches:
    torch.manual_seed(0)
    return Branches().eval()


@pytest.mark.parametrize("memory", [0, 3000, 1 << 20])
def test_the_result_is_the_same(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randn(70, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, second = model(), model()
    demitasse.shrink(first, images, bits=3, sparsity=0.3)

    class Small(replay.Replay):
        def __init__(self, *given: object) -> None:
            super().__init__(*given, memory)  # type: ignore[arg-type]

    monkeypatch.setattr("demitasse.shrinking.job.Replay", Small)
    demitasse.shrink(second, images, bits=3, sparsity=0.3)
    assert same(first, second)


def test_what_is_finished_is_not_computed_again() -> None:
    one = model()
    images = torch.randn(3, 1, 8, 8)
    runner = ModelRunner(one, run)
    seen = survey(runner, images, {one.stem: "stem"})
    kept = replay.Replay(one, seen)
    computed: list[nn.Module] = []
    before = seen.begins[one.pool]
    with torch.no_grad():
        expected = one(images)
        for _ in range(3):
            hooks = [part.register_forward_hook(lambda m, a, o: computed.append(m)) for part in one.blocks.modules()]
            del computed[:]
            with kept.skipping(0, before):
                assert torch.equal(one(images), expected)
            for hook in hooks:
                hook.remove()
    assert computed == [one.blocks]  # its hook runs, but no layer inside
    assert "forward" not in one.blocks.__dict__


def test_the_survey_finds_the_normalization_after_a_layer() -> None:
    one = model()
    seen = survey(ModelRunner(one, run), torch.randn(3, 1, 8, 8), {one.stem: "stem"})
    block = one.blocks[0]
    assert isinstance(block, Block)
    assert seen.absorbers[block.conv1][1].module is block.norm1
    assert seen.absorbers[block.conv2][1].module is block.norm2
    assert one.stem not in seen.absorbers


def test_what_is_no_longer_needed_is_not_kept() -> None:
    chain = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Conv2d(2, 2, 1), nn.ReLU()))).eval()
    images = torch.randn(3, 2, 5, 5)
    convolutions = [chain[number] for number in (0, 2, 4, 6)]
    seen = survey(ModelRunner(chain, run), images, dict.fromkeys(convolutions, "convolution"))
    kept = replay.Replay(chain, seen)
    with torch.no_grad():
        for number, convolution in enumerate(convolutions):
            for _ in range(2):  # the second run drops what the first one needed
                with kept.skipping(0, seen.begins[convolution]):
                    chain(images)
            assert kept.kept_bytes == (images.nbytes if number else 0)
