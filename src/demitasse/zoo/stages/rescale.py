"""Rescales weights so that powers of two fit them, without changing the classes that the model predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from demitasse.errors import UsageError, WeightsError
from demitasse.methods import settings
from demitasse.methods.pow2 import best_factor
from demitasse.zoo.stages.base import STAGES, Outcome, Stage, Work, at


@STAGES.register("rescale")
@dataclass(frozen=True, kw_only=True)
class Rescale(Stage):
    """Multiplies the weights of every linear and convolution layer by its own factor, before quantization.

    After surgery the weights of a layer have nearly the same magnitude, and powers of two fit them only if one is
    near. In a chain of layers with only ReLU, pooling and reshaping in between, f(c x) = c f(x) for c > 0. So the
    factors, with each bias multiplied by all factors up to its layer, multiply the logits by one number, and no
    predicted class changes. The factors are multiplied by powers of two to keep this number near 1.

    Attributes:
        exponents: number of powers of two of the grid that the weights of a layer are to fit.
    """

    kind = "rescale"

    exponents: int = 2

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        with at(place):
            settings.whole("exponents", self.exponents, 1)
        if any(stage.kind == "quantize" for stage in before):
            raise UsageError(f"{place}: comes after quantize, whose powers of two it would change; expected it before")

    @override
    @torch.no_grad()
    def rehearse(self, work: Work) -> None:
        for values in work.model.parameters():
            if values.ndim == 1:
                values.add_(1)  # biases of zero, as at the start, hide that a layer adds what is not rescaled
        self._rescale(work, next(iter(work.data.test_batches()))[0])

    @override
    def run(self, work: Work) -> Outcome:
        """Runs the stage.

        Raises:
            WeightsError: the model is not such a chain in the order of its modules.
        """
        return self._rescale(work, next(work.data.train_batches(work.offset))[0])

    @torch.no_grad()
    def _rescale(self, work: Work, images: Tensor) -> Outcome:
        images = images.to(next(work.model.parameters()).device)
        work.model.eval()
        before: Tensor = work.model(images)
        product, factors = 1.0, {}
        for name, layer in work.model.named_modules():
            if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
                factor = best_factor(layer.weight, self.exponents)
                factor *= 2.0 ** -round(math.log2(product * factor))
                product *= factor
                factors[name] = factor
                layer.weight.mul_(factor)
                if layer.bias is not None:
                    layer.bias.mul_(product)
        after: Tensor = work.model(images)
        if not torch.allclose(after, product * before, rtol=1e-3, atol=1e-4 * float(before.abs().max())):
            raise WeightsError(
                "the model cannot be rescaled: expected a chain of layers in the order of its modules, with only ReLU, "
                "pooling and reshaping in between"
            )
        return Outcome(report={"factors": factors})
