"""Moves values between a compressed parameter and its reserve, and decides what is cut.

On a CPU and in float32 these are compiled loops, one pass over memory each (:mod:`demitasse.methods.kernels`);
elsewhere torch operations with the same results, none of which waits for the device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from demitasse.methods import compiled, counts, pow2

# what an entry is: learning; cut for now and learning in the reserve; fixed at its value; 0 for good
FREE, CUT, FROZEN, PRUNED = range(4)


class Scales(NamedTuple):
    """Factors of magnitudes before they are compared: 1 / alpha_low for free entries, 1 / alpha_high for cut ones."""

    free: float = 1.0
    cut: float = 1.0


def put_back(values: Tensor, status: Tensor, reserve: Tensor, edited: bool) -> bool:
    """Puts dense values into a parameter before a step, and notes frozen ones in the reserve.

    Args:
        values: effective values, any shape; changed. A cut entry that is not 0 was written from outside and wins.
        status: uint8, same shape.
        reserve: like ``values``; changed.
        edited: whether the values may have been written from outside; on a CPU that is seen from the values.

    Returns:
        Whether a frozen value may be off the grid of powers of two.
    """
    arrays = compiled.flat(values, status, reserve)
    if arrays is None:
        values.copy_(torch.where((status == CUT) & (values == 0), reserve, values))
        frozen = status == FROZEN
        reserve.copy_(torch.where(frozen, values, reserve))
        return not bool(pow2.on_grid(values[frozen]).all()) if values.device.type == "cpu" else edited
    array, state, hidden = arrays
    found = compiled.run("put_back", [array, array.view(np.int32), state, hidden])
    increment_version((values, reserve))
    return bool(found)


def take_out(values: Tensor, status: Tensor, reserve: Tensor | None) -> None:
    """Puts effective values into a parameter after a step: cut ones go to the reserve, frozen ones come back.

    Args:
        values: dense values, any shape; changed.
        status: uint8, same shape.
        reserve: like ``values``; changed. None where there is nothing but free and pruned entries.
    """
    if reserve is not None:
        arrays = compiled.flat(values, status, reserve)
        if arrays is not None:
            compiled.run("take_out", arrays)
            increment_version((values, reserve))
            return
        reserve.copy_(torch.where(status == CUT, values, reserve))
        values.copy_(torch.where(status == FROZEN, reserve, values))
    values.masked_fill_((status == CUT) | (status == PRUNED), 0)


def scores(values: Tensor, status: Tensor, reserve: Tensor, scales: Scales) -> Tensor:
    """Returns the scaled magnitudes of the dense values, float32; 0 for pruned entries."""
    is_cut = status == CUT
    magnitude = torch.where(is_cut & (values == 0), reserve, values).abs().float()
    scaled = magnitude * torch.where(is_cut, _float32(scales.cut), _float32(scales.free)).to(torch.float32)
    return scaled.masked_fill(status == PRUNED, 0)


def _float32(value: float) -> float:
    return float(np.float32(value))


def cut_up_to(
    values: Tensor,
    status: Tensor,
    reserve: Tensor,
    scales: Scales,
    bound: float,
    state: int = CUT,
    skip: Tensor | None = None,
) -> None:
    """Cuts what scores up to a bound and brings back cut entries above it; frozen and pruned ones stay.

    A NaN is kept, so that a diverged run does not look healthy.

    Args:
        values: effective values, any shape; changed.
        status: uint8, same shape; changed.
        reserve: like ``values``; changed.
        scales: see :func:`scores`.
        bound: in units of scaled magnitudes.
        state: what is cut becomes, CUT or PRUNED.
        skip: a tensor of one number on the device; nothing changes where it is not 0.
    """
    arrays = compiled.flat(values, status, reserve) if skip is None else None
    if arrays is not None:
        compiled.run("cut_up_to", arrays, scales.free, scales.cut, bound, state)
        increment_version((values, status, reserve))
        return
    low = scores(values, status, reserve, scales) <= bound
    if skip is not None:
        # where the step was skipped everything stays as it is
        low = torch.where(skip != 0, status == CUT, low)
    cut, back = low & (status == FREE), ~low & (status == CUT)
    reserve.copy_(torch.where(cut, values, reserve))
    values.copy_(torch.where(back & (values == 0), reserve, values).masked_fill(cut, 0))
    status.masked_fill_(cut, state).masked_fill_(back, FREE)


def histogram(values: Tensor, status: Tensor, reserve: Tensor, scales: Scales, prefix: int, shift: int) -> Tensor:
    """Returns counts of scores as :func:`demitasse.methods.counts.kth_smallest` asks for them; frozen entries left out.

    Returns:
        int64 on the device of the values.
    """
    arrays = compiled.flat(values, status, reserve)
    width = counts.width_at(shift)
    if arrays is None:
        found = scores(values, status, reserve, scales)[status != FROZEN]
        return counts.histogram_of(found, prefix, shift)
    result = np.zeros(1 << width, np.int64)
    numbers = np.float32(scales.free), np.float32(scales.cut)
    compiled.kernels().count_scores(*arrays, *numbers, prefix, shift, width, result)
    return torch.from_numpy(result)
