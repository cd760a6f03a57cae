"""Layers under Incremental Network Quantization."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import override

from demitasse.caffe import log, schema
from demitasse.caffe.layers.base import LAYERS, Shape
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.masked import EntryCount, Masked
from demitasse.methods import freezing, pow2


class Incremental(Masked):
    """Mixin: freezes a share of weight and bias at powers of two, once, at the first training forward.

    Masks: True = free. Solvers leave what is frozen as it is; see :meth:`free_masks`.

    Attributes:
        step: the portions before and after.
        applied: whether the step was taken.
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
        """Returns weight and bias, after freezing the step's share where that is still to be done."""
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
                f"2^{result.exponents.largest}, the largest power of those frozen before",
            )

    @override
    def free_masks(self) -> dict[str, Tensor]:
        return {name: free for name, (_, free) in self.masked().items()}

    @override
    def compression(self) -> EntryCount:
        """Counts the entries of weight and bias that are frozen."""
        free, total = super().compression()
        return EntryCount(total - free, total)

    @override
    def state(self) -> dict[str, object]:
        return {"stage": list(self.step) if self.applied else None}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        """Takes the stage back; an empty state (Caffe's own solverstate) leaves it to be read off the masks.

        A stage other than this net's step means that the step is still to be taken.
        """
        if state:
            self.applied = state["stage"] == list(self.step)
            return
        share = freezing.frozen_share(self.weight, self.mask("weight"))
        before, after = self.step
        self.applied = abs(share - after) < abs(share - before)


@LAYERS.register("INQConvolution")
class INQConvolution(Incremental, Convolution):
    """Convolution under quantization; settings in ``inq_convolution_param``."""

    parameter = "inq_convolution_param"
    log_place = "inq_conv_layer.cpp:307"


@LAYERS.register("INQInnerProduct")
class INQInnerProduct(Incremental, InnerProduct):
    """InnerProduct under quantization; settings in ``inq_inner_product_param``."""

    parameter = "inq_inner_product_param"
    log_place = "inq_inner_product_layer.cpp:321"
