"""Moves values between a compressed parameter and its reserve, and cuts and freezes entries.

On a CPU and in float32 each function is a compiled loop, one pass over memory (:mod:`demitasse.methods.kernels`);
elsewhere it uses torch operations with the same results, none of which waits for the device.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from demitasse.methods import compiled, counts, pow2

# states of an entry: learning; cut, and learning in the reserve; fixed at its value; 0 for good
FREE, CUT, FROZEN, PRUNED = range(4)


# larger than any number of ties
ALL = 1 << 62


class Boundary(NamedTuple):
    """Which entries count as small.

    Attributes:
        bound: entries with a lower score are small.
        ties: entries whose score equals ``bound`` are small if their flat index is below this number.
        places: the flat index of each local entry in the whole parameter; None if it is not sharded.
        small: number of small entries in the whole parameter; -1 if they were not counted.
        nonfinite: number of entries that are infinite or NaN.
    """

    bound: float
    ties: int = ALL
    places: Tensor | None = None
    small: int = -1
    nonfinite: int = 0

    def is_small(self, scores: Tensor) -> Tensor:
        """Returns which entries are small, as bool.

        Args:
            scores: float32, of the local shape.
        """
        if self.ties >= ALL or self.ties <= 0:
            return scores <= self.bound if self.ties else scores < self.bound
        places = self.places
        if places is None:
            places = torch.arange(scores.numel(), device=scores.device).reshape(scores.shape)
        return (scores < self.bound) | ((scores == self.bound) & (places < self.ties))

    def slices(self, values: Tensor) -> list[tuple[slice, float]] | None:
        """Returns (slice of memory, the largest small score in it); None if no slices separate the ties."""
        before = float(np.nextafter(np.float32(self.bound), np.float32(-np.inf)))
        if self.ties >= ALL or self.ties <= 0:
            return [(slice(None), self.bound if self.ties else before)]
        if self.places is None and values.is_contiguous():
            return [(slice(self.ties), self.bound), (slice(self.ties, None), before)]
        return None


class Scales(NamedTuple):
    """Factors that turn magnitudes into scores: 1 / alpha_low for free entries, 1 / alpha_high for cut ones."""

    free: float = 1.0
    cut: float = 1.0


def put_back(values: Tensor, status: Tensor, reserve: Tensor, edited: bool) -> bool:
    """Puts dense values into a parameter before a step, and copies frozen ones to the reserve.

    Args:
        values: effective values, any shape; changed. A nonzero cut entry was written by somebody else and is kept.
        status: uint8, same shape.
        reserve: like ``values``; changed.
        edited: whether somebody else may have written the values; on a CPU the values themselves are checked instead.

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
    """Puts effective values into a parameter after a step: moves cut values to the reserve, and frozen ones back.

    Args:
        values: dense values, any shape; changed.
        status: uint8, same shape.
        reserve: like ``values``; changed. None if all entries are free or pruned.
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


def cut(
    values: Tensor,
    status: Tensor,
    reserve: Tensor,
    scales: Scales,
    boundary: Boundary,
    state: int = CUT,
    skip: Tensor | None = None,
) -> None:
    """Cuts free entries that are small and splices back cut entries that are not.

    Keeps NaN entries, so that a diverged run does not look healthy.

    Args:
        values: effective values, any shape; changed.
        status: uint8, same shape; changed.
        reserve: like ``values``; changed.
        scales: see :func:`scores`.
        boundary: which entries are small, in units of the scores.
        state: the state of the entries that are cut, CUT or PRUNED.
        skip: a tensor of one number on the device; if it is not 0, nothing changes.
    """
    slices = boundary.slices(values)
    arrays = compiled.flat(values, status, reserve) if skip is None and slices else None
    if arrays is not None and slices:
        for part, bound in slices:
            compiled.run("cut_up_to", [array[part] for array in arrays], *scales, bound, state)
        increment_version((values, status, reserve))
        return
    low = boundary.is_small(scores(values, status, reserve, scales))
    if skip is not None:
        # if the step was skipped, change nothing
        low = torch.where(skip != 0, status == CUT, low)
    cut, back = low & (status == FREE), ~low & (status == CUT)
    reserve.copy_(torch.where(cut, values, reserve))
    values.copy_(torch.where(back & (values == 0), reserve, values).masked_fill(cut, 0))
    status.masked_fill_(cut, state).masked_fill_(back, FREE)


def freeze(
    values: Tensor, status: Tensor, order: Tensor, boundary: Boundary, tops: Tensor, axis: int, levels: int
) -> int:
    """Freezes the free entries that are not small at the nearest powers of two.

    Args:
        values: effective values, any shape; changed.
        status: uint8, same shape; changed.
        order: same shape; its magnitudes are the scores. It may be the values themselves.
        boundary: which entries are small, in units of ``order``.
        tops: (1,) or (channels,) int64, the largest exponents.
        axis: the axis of the channels.
        levels: number of exponents.

    Returns:
        The number of values that were beyond the grid and were clipped to it.
    """
    if not values.numel():
        return 0
    slices = boundary.slices(values)
    arrays = compiled.flat(values, status, order) if slices else None
    if arrays is not None and slices:
        run = values.stride(axis) if tops.numel() > 1 else values.numel()
        clipped = sum(
            compiled.run(
                "freeze",
                [*(array[part] for array in arrays), tops.numpy()],
                bound,
                whole=(run, levels, part.start or 0),
            )
            or 0
            for part, bound in slices
        )
        increment_version((values, status))
        return clipped
    chosen = (status == FREE) & ~boundary.is_small(order.abs().float())
    each = tops.reshape([-1 if number == axis else 1 for number in range(values.ndim)]) if tops.numel() > 1 else tops
    beyond = chosen & (values != 0) & (pow2.exponent(values) > each)
    values.copy_(torch.where(chosen, pow2.project_each(values, each - (levels - 1), each), values))
    status.masked_fill_(chosen, FROZEN)
    return int(torch.count_nonzero(beyond))


def count(
    values: Tensor, status: Tensor, reserve: Tensor, scales: Scales, prefix: int, shift: int, width: int
) -> Tensor:
    """Counts free and cut entries by a digit of their scores; see :data:`demitasse.methods.counts.Histogram`.

    Args:
        values: effective values, any shape.
        status: uint8, same shape.
        reserve: like ``values``.
        scales: see :func:`scores`.
        prefix: the leading bits of the scores to count.
        shift: number of bits below the counted ones.
        width: number of bits to count by.

    Returns:
        (2^width,) int64 on the device of the values.
    """
    arrays = compiled.flat(values, status, reserve)
    if arrays is None:
        found = scores(values, status, reserve, scales)[status < FROZEN]
        return counts.histogram_of(found.view(torch.int32), prefix, shift, width)
    parts = compiled.parts(arrays[0].size)
    table = np.zeros((parts, 1 << width), np.int64)
    compiled.run("count", [*arrays, table if parts > 1 else table[0]], *scales, whole=(prefix, shift, width))
    return torch.from_numpy(table.sum(0))


class Near(NamedTuple):
    """The free and cut entries whose scores lie in a span, and counts of the others.

    Attributes:
        keys: int32, the bit patterns of their scores.
        places: int64, the flat index of each in order of memory, ascending.
        below: number of entries with lower scores, frozen and pruned ones included.
        left_out: number of frozen and pruned entries.
        nonfinite: number of entries that are infinite or NaN.
    """

    keys: Tensor
    places: Tensor
    below: int
    left_out: int
    nonfinite: int


def gather(values: Tensor, status: Tensor, reserve: Tensor, scales: Scales, span: tuple[int, int]) -> Near | None:
    """Collects the entries whose scores lie in a span, in one pass.

    Args:
        values: effective values, any shape.
        status: uint8, same shape.
        reserve: like ``values``.
        scales: see :func:`scores`.
        span: the least and the largest bit pattern of the scores.

    Returns:
        The entries; None if they are more than a sixteenth of all, or if the compiled loops cannot be used.
    """
    arrays = compiled.flat(values, status, reserve)
    if arrays is None:
        return None
    parts = compiled.parts(arrays[0].size)
    most = -(-arrays[0].size // parts) // 16 + 1
    keys, places = np.empty((parts, most), np.int32), np.empty((parts, most), np.int64)
    sums = np.zeros((parts, 4), np.int64)
    tables = [table if parts > 1 else table[0] for table in (keys, places, sums)]
    compiled.run("gather", [*arrays, *tables], *scales, whole=(*span, 0))
    taken = sums[:, 1].tolist()
    if max(taken) > most:
        return None
    below, _, left_out, nonfinite = sums.sum(0).tolist()
    return Near(_joined(keys, taken), _joined(places, taken), below, left_out, nonfinite)


def _joined(rows: np.ndarray, sizes: list[int]) -> Tensor:
    return torch.from_numpy(np.concatenate([row[:size] for row, size in zip(rows, sizes, strict=True)]))
