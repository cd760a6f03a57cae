"""Grids and scales: what is chosen, that it is said, and that files say scales of channels in few bytes."""

from __future__ import annotations

import copy
from io import BytesIO

import pytest
import torch
from torch import Tensor, nn

import demitasse
from demitasse.methods import pow2
from demitasse.methods.homes import is_conv1d
from demitasse.methods.one_shot import scales
from demitasse.packed.file import File
from demitasse.packed.palettes.scaled import find_scaled
from demitasse.packed.tensor import of_array


def mixed(spread: float, seed: int = 0) -> nn.Sequential:
    """Returns two linear layers; the rows of the first differ in size by about this power of two."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 20))
    with torch.no_grad():
        sizes = 2 ** (spread * torch.randn(48, 1))
        model[0].weight.mul_(sizes)
        model[2].weight.div_(sizes.T)  # so that all rows matter
        model[2].weight.mul_(torch.randn(20, 48).abs())
    return model


def inputs(count: int = 200, seed: int = 1) -> Tensor:
    return torch.randn(count, 64, generator=torch.Generator().manual_seed(seed))


def distance(model: nn.Module, dense: nn.Module) -> float:
    given = inputs(300, seed=2)
    with torch.no_grad():
        return float((model(given) - dense(given)).square().mean() / dense(given).var())


def file_of(model: nn.Module) -> bytes:
    file = BytesIO()
    demitasse.save(model, file, format="demi")
    return file.getvalue()


def test_channels_of_different_sizes_get_scales_of_their_own() -> None:
    dense = mixed(2.0)
    found, errors, sizes = {}, {}, {}
    for per in (None, "tensor", "channel"):
        model = copy.deepcopy(dense)
        found[per] = demitasse.shrink(model, inputs(), bits=4, grid="uniform", per=per)  # type: ignore[arg-type]
        errors[per], sizes[per] = distance(model, dense), file_of(model)
    assert found[None].rows[0].per == "channel"
    losses = found[None].rows[0].losses
    assert losses["uniform channel"] < 0.5 * losses["uniform tensor"]
    assert f"channel ({losses['uniform channel'] / losses['uniform tensor']:.2f})" in str(found[None])
    assert "a scale for each channel, at 0.5 of the estimated loss" in str(found[None])
    assert errors[None] < 0.8 * errors["tensor"]
    assert (sizes["tensor"][4], sizes["channel"][4]) == (1, 2)
    # at most the four bits of the codes, and two bytes for each scale
    codes = (64 * 48 + 48 * 20) // 2
    assert len(sizes["channel"]) < codes + 2 * 68 + 4 * 68 + 250


def test_channels_of_equal_sizes_share_a_scale() -> None:
    report = demitasse.shrink(mixed(0.0), inputs(), bits=4)
    assert [row.per for row in report.rows] == ["tensor", "tensor"]
    assert "channel" not in str(report)


def test_the_grid_with_the_smaller_loss_is_chosen() -> None:
    dense, errors = mixed(0.0), {}
    for grid in (None, "pow2", "uniform"):
        model = copy.deepcopy(dense)
        report = demitasse.shrink(model, inputs(), bits=4, grid=grid)  # type: ignore[arg-type]
        errors[grid] = distance(model, dense)
        assert {row.grid for row in report.rows} == {grid or "uniform"}
        assert ("(chosen: 0." in report.choice) is (grid is None)
    assert errors[None] == errors["uniform"] < errors["pow2"]


def test_weights_that_are_powers_of_two_keep_their_grid() -> None:
    model = mixed(0.0)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(pow2.project(layer.weight, pow2.grid(float(layer.weight.abs().max()), 8)))
    report = demitasse.shrink(model, inputs(), bits=5)
    assert {row.grid for row in report.rows} == {"pow2"}
    assert "grid: pow2 (chosen: 0.00 of the estimated loss of uniform)" in report.choice


def test_a_choice_is_deterministic() -> None:
    first, second = mixed(1.0), mixed(1.0)
    reports = [demitasse.shrink(model, inputs(), sparsity=0.3, bits=3) for model in (first, second)]
    assert reports[0].rows == reports[1].rows
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("bits", [3, 5, 8])
def test_scales_leave_multiples_exact(dtype: torch.dtype, bits: int) -> None:
    largest = (1 << (bits - 1)) - 1
    found = scales.shortened(torch.rand(500, dtype=torch.float64) + 0.01, scales.digits(largest, dtype))
    multiples = found.unsqueeze(1) * torch.arange(largest + 1)
    assert torch.equal(multiples.to(dtype).double(), multiples)


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (nn.Linear(30, 24), (30,), 0),
        (nn.Conv2d(6, 24, 3, groups=2), (6, 8, 8), 0),
        (nn.ConvTranspose2d(12, 20, 3), (12, 5, 5), 1),
    ],
    ids=["linear", "grouped", "transposed"],
)
def test_the_file_says_scales_along_the_axis_of_the_channels(
    layer: nn.Module, shape: tuple[int, ...], axis: int
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(layer)
    demitasse.shrink(model, torch.randn(60, *shape), bits=3, grid="uniform", per="channel")
    weight = model[0].weight.detach()  # type: ignore[union-attr]
    found = find_scaled(of_array("weight", weight.numpy()))
    assert found is not None
    assert (found.axis, found.count) == (axis, 3)
    file = file_of(model)
    assert File(file).header.version == 2
    assert torch.equal(demitasse.load(file)["0.weight"], weight)


def test_conv1d_of_hugging_face() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    layer = transformers.pytorch_utils.Conv1D(24, 30)
    assert is_conv1d(layer)
    model = nn.Sequential(layer)
    demitasse.shrink(model, torch.randn(60, 30), bits=3, grid="uniform", per="channel")
    assert find_scaled(of_array("weight", layer.weight.detach().numpy())).axis == 1  # type: ignore[union-attr]


def test_a_size_with_steps_of_channels() -> None:
    dense = mixed(2.0)
    model = copy.deepcopy(dense)
    report = demitasse.shrink(model, inputs(), max_bytes=2500, per="channel")
    assert report.bytes is not None
    assert 2000 < report.bytes == len(file_of(model)) <= 2500
    assert {row.per for row in report.rows} == {"channel"}
