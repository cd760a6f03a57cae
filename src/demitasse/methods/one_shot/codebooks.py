"""The values that a weight may take, as a sorted list for a whole tensor, and their prices in bits."""

from __future__ import annotations

import torch
from torch import Tensor

# size up to which all entries of a codebook are tried
_ALL = 33


def powers(largest: int, levels: int) -> Tensor:
    """Returns zero and +-2^e for ``levels`` exponents up to ``largest``, sorted, float64.

    Reference: Zhou et al. 2017, Incremental Network Quantization (arXiv 1702.03044), section 2.1.
    """
    positive = torch.ldexp(torch.ones(levels, dtype=torch.float64), torch.arange(largest - levels + 1, largest + 1))
    return torch.cat([-positive.flip(0), positive.new_zeros(1), positive])


def integers(largest: int) -> Tensor:
    """Returns the whole numbers from ``-largest`` to ``largest``, float64: a uniform grid in units of its step."""
    return torch.arange(-largest, largest + 1, dtype=torch.float64)


def nearest(values: Tensor, codebook: Tensor) -> Tensor:
    """Returns the number of the nearest entry of the codebook for every value; half way up, the larger one."""
    return torch.bucketize(values.contiguous(), ((codebook[1:] + codebook[:-1]) / 2).to(values.dtype), right=True)


def cheapest(values: Tensor, codebook: Tensor, curvature: Tensor, prices: Tensor) -> Tensor:
    """Returns for every value the number of the entry with the least curvature * error^2 + price.

    Of a large codebook it tries the nearest entry, the next two towards zero, and zero.

    Args:
        values: (groups, rows).
        codebook: (entries,), one of them zero.
        curvature: broadcastable to the values.
        prices: (entries,), in units of the loss.

    Reference: Conzelmann and Bamler 2025, CERWU (arXiv 2505.18758), section 3.
    """
    if len(codebook) <= _ALL:
        errors = (values.unsqueeze(2) - codebook).square() * curvature.unsqueeze(2)
        return (errors + prices).argmin(2)
    zero = int((codebook == 0).nonzero()[0, 0])
    first = nearest(values, codebook)
    inward = (zero - first).sign()
    tried = [first, first + inward, first + 2 * inward * ((zero - first).abs() > 1), torch.full_like(first, zero)]
    numbers = torch.stack(tried)
    costs = (values - codebook[numbers]).square() * curvature + prices[numbers]
    return numbers.gather(0, costs.argmin(0, keepdim=True))[0]


def bits(numbers: Tensor, entries: int) -> Tensor:
    """Returns the price of each entry in bits, -log2 of its share, from how often it is used.

    Args:
        numbers: any shape, numbers of entries.
        entries: the size of the codebook.
    """
    counts = torch.bincount(numbers.flatten(), minlength=entries).double() + 0.5
    return -(counts / counts.sum()).log2()
