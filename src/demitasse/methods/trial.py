"""Measures a model with some of its weights pruned and quantized, and restores it bit for bit afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Real

import torch
from torch import Tensor, nn

from demitasse.errors import MethodError
from demitasse.methods import pow2, settings
from demitasse.methods.selection import Chosen

Evaluate = Callable[[nn.Module], float]
_NOTHING: Mapping[str, float] = {}
_NO_BITS: Mapping[str, int] = {}


class Trial:
    """Evaluates a model with changed weights.

    Args:
        model: any module.
        evaluate: returns the metric of the model, where less is better.
        chosen: the parameters that may be changed.
    """

    def __init__(self, model: nn.Module, evaluate: Evaluate, chosen: Sequence[Chosen]) -> None:
        self._model, self._evaluate = model, evaluate
        self._chosen = {item.name: item for item in chosen}
        self._versions: list[int] = []

    def metric(self, sparsity: Mapping[str, float] = _NOTHING, bits: Mapping[str, int] = _NO_BITS) -> float:
        """Returns the metric of the model with these parameters first pruned and then quantized.

        Prunes the smallest magnitudes; quantizes to zero and the nearest of 2^(bits - 2) powers of two of each sign.

        Args:
            sparsity: name of a parameter -> share of zeros.
            bits: name of a parameter -> bits, sign and zero included.

        Raises:
            MethodError: ``evaluate`` does not return a number.
        """
        with ExitStack() as stack:
            for name in dict.fromkeys([*sparsity, *bits]):
                values = stack.enter_context(_restored(self._chosen[name]))
                changed = _pruned(values, sparsity[name]) if name in sparsity else values
                if name in bits:
                    changed = _quantized(changed, pow2.levels_of_bits(bits[name]))
                _write(values, changed)
            stack.enter_context(_as_it_was(self._model))
            found = _number(self._evaluate(self._model))
        self._versions = self._present_versions()
        return found

    def check_unchanged(self) -> None:
        """Checks that no parameter was changed after the last evaluation.

        Raises:
            MethodError: one was; names it.
        """
        pairs = zip(self._chosen, self._versions, self._present_versions(), strict=True)
        if changed := next((name for name, before, now in pairs if before != now), None):
            raise MethodError(f"{changed} was changed after it was measured; call sensitivity again")

    def _present_versions(self) -> list[int]:
        return [item.parameter._version for item in self._chosen.values()]


def _number(value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise MethodError(f"evaluate returned {settings.shown(value)}; expected a number, where less is better")
    return float(value)


@contextmanager
def _restored(item: Chosen) -> Iterator[Tensor]:
    """Yields the values of a parameter; restores them at the end."""
    values = item.parameter.detach()
    before = values.clone()
    try:
        yield values
    finally:
        _write(values, before)


@torch.no_grad()
def _write(values: Tensor, new: Tensor) -> None:
    values.copy_(new)


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Restores buffers (statistics of batch norm) and modes after an evaluation."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, before in buffers:
            _write(buffer, before)


def _pruned(weight: Tensor, share: float) -> Tensor:
    """Returns the weight with this share of its entries 0, the smallest ones; among equal ones the first."""
    result = weight.clone(memory_format=torch.contiguous_format)
    smallest = result.abs().flatten().sort(stable=True).indices[: round(share * weight.numel())]
    result.view(-1)[smallest] = 0
    return result


def _quantized(weight: Tensor, levels: int) -> Tensor:
    largest = float(weight.abs().max())
    if not largest:
        return weight
    grid = pow2.grid(largest, levels)
    pow2.check_largest(grid.largest, weight.dtype, "sensitivity")
    return pow2.project(weight, grid)
