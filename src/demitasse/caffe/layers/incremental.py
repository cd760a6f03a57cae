"""Layers for Incremental Network Quantization (INQ)."""

from __future__ import annotations

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import log, schema
from demitasse.caffe.layers.base import LAYERS, Shape, State
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.masked import EntryCount, Masked
from demitasse.methods import freezing, pow2


class Incremental(Masked):
    """Mixin: freezes a portion of weight and bias at powers of two, once, in the first training forward.

    Masks: True for free entries. Solvers do not change frozen entries; see :meth:`free_masks`.

    Attributes:
        step: the frozen portions before and after.
        applied: whether the step has been taken.
    """

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.applied = False

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        self.step = freezing.portions(self.compression_settings.portion)
        self.levels = self.compression_settings.num_quantum_values
        pow2.check_levels(self.levels, None, self.weight.dtype, "num_quantum_values")

    def effective(self) -> tuple[Tensor, Tensor | None]:
        """Returns weight and bias; in training, first freezes the step's portion if that has not been done yet."""
        if self.training and not self.applied:
            for name, (values, free) in self.masked().items():
                result = freezing.freeze(values, free, self.step, self.levels)
                self._report(name, result, free.numel())
            self.applied = True
        return self.weight, self.bias

    def _report(self, name: str, result: freezing.Frozen, total: int) -> None:
        if result.exponents is None:
            log.info(self.log_place, f"{self.spec.name} ({self.spec.type}): all of {name} is zero")
            return
        before, after = result.before, result.after
        shares = [log.number(100 * value) for value in (*self.step, 1 - before / total, 1 - after / total)]
        for line in (
            f"{self.spec.name} ({self.spec.type}):  Shaping the {'weights' if name == 'weight' else name}...",
            f"Max_power = {result.exponents.largest}",
            f"Min_power = {result.exponents.least}",
            "portions: {}% -> {}% (total: {}% -> {}%)".format(*shares),
            f"to_update/not_tobe_quantized/not_yet_quantized: {before - after}/{after}/{before}",
        ):
            log.info(self.log_place, line)
        if result.clipped:
            log.warning(
                self.log_place,
                f"{self.spec.name}: clipped {result.clipped} values of {name} that had grown beyond "
                f"2^{result.exponents.largest}, the largest power of the values frozen before",
            )

    @override
    def free_masks(self) -> dict[str, Tensor]:
        return {name: free for name, (_, free) in self.masked().items()}

    @override
    def compression(self) -> EntryCount:
        """Counts the frozen entries of weight and bias."""
        free, total = super().compression()
        return EntryCount(total - free, total)

    @override
    def state(self) -> State:
        return {"stage": list(self.step) if self.applied else None}

    @override
    def restore(self, state: State) -> None:
        """Restores the stage; for an empty state (a solverstate of Caffe) it is inferred from the masks.

        If the stage differs from this net's step, the step has not been taken yet.
        """
        if state:
            self.applied = state["stage"] == list(self.step)
            return
        share = freezing.frozen_share(self.weight, self.mask("weight"))
        before, after = self.step
        self.applied = abs(share - after) < abs(share - before)


@LAYERS.register("INQConvolution")
class INQConvolution(Incremental, Convolution):
    """Convolution with quantization; its settings are ``inq_convolution_param``."""

    parameter = "inq_convolution_param"
    log_place = "inq_conv_layer.cpp:307"


@LAYERS.register("INQInnerProduct")
class INQInnerProduct(Incremental, InnerProduct):
    """InnerProduct with quantization; its settings are ``inq_inner_product_param``."""

    parameter = "inq_inner_product_param"
    log_place = "inq_inner_product_layer.cpp:321"
