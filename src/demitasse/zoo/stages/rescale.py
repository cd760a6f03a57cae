"""Weights moved to where powers of two are, without a change to what the model says."""

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
    """Multiplies the weights of every linear and convolution layer by a factor of its own, ahead of quantization.

    The weights that surgery leaves are nearly of one size, and powers of two fit them only where that size is near
    one. In a chain of layers with nothing but ReLU, pooling and reshaping in between, f(c x) = c f(x) for c > 0, so
    that factors, with each bias multiplied by those up to its layer, multiply the logits by one number: no class
    changes. Factors are taken times powers of two so that this number stays near 1.

    Attributes:
        exponents: number of powers of two that the factor of a layer is to fit.
    """

    kind = "rescale"

    exponents: int = 2

    @override
    def check(self, place: str, before: Sequence[Stage]) -> None:
        super().check(place, before)
        with at(place):
            settings.whole("exponents", self.exponents, 1)
        if any(stage.kind == "quantize" for stage in before):
            raise UsageError(f"{place}: comes behind quantize, whose powers of two it would spoil; expected it before")

    @torch.no_grad()
    def run(self, work: Work) -> Outcome:
        """See :class:`Stage`.

        Raises:
            WeightsError: the model is no such chain, in the order in which it holds its layers.
        """
        images = next(work.data.train_batches(work.offset))[0].to(next(work.model.parameters()).device)
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
                "the model cannot be rescaled: expected layers one after the other, in the order of its modules, with "
                "nothing but ReLU, pooling and reshaping in between"
            )
        return Outcome(report={"factors": factors})
