"""Layers for Dynamic Network Surgery (DNS)."""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import log, schema
from demitasse.caffe.layers.base import LAYERS, Shape, State
from demitasse.caffe.layers.convolution import Convolution
from demitasse.caffe.layers.inner_product import InnerProduct
from demitasse.caffe.layers.masked import Masked
from demitasse.methods import fused, surgery


class SurgeryLayer(Masked):
    """Mixin: computes with weight * weight_mask and bias * bias_mask; training forwards update the masks.

    The gradient of the effective values goes to all dense values, including cut ones, so that they can return. In
    phase TEST the masks do not change.

    Attributes:
        draw: returns a random number in 0..1 for each training forward; solvers set the same function in all layers.
        statistics: mean and deviation of the kept magnitudes, computed in the first training forward.
    """

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.draw: Callable[[], float] = random.Random(0).random
        self.statistics: surgery.Statistics | None = None
        self._effective: dict[str, _Effective] = {}

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        settings = self.compression_settings
        fields = ("c_rate", "gamma", "power", "iter_stop", "alpha_low", "alpha_high")
        self.schedule = surgery.Schedule(**{field: getattr(settings, field) for field in fields})
        self._effective = {name: _Effective() for name in self.masked_names}

    def effective(self) -> tuple[Tensor, Tensor | None]:
        """Returns the masked weight and bias; in training, first updates the masks if surgery is due."""
        bounds = self._bounds() if self.training else None
        values = {name: self._effective[name](dense, mask, bounds) for name, (dense, mask) in self.masked().items()}
        return values["weight"], values.get("bias")

    def _bounds(self) -> tuple[float, float] | None:
        """Returns the magnitudes at which to cut and splice; None if no surgery is due."""
        drawn = self.draw()
        if self.statistics is None:
            dense, masks = zip(*self.masked().values(), strict=True)
            self.statistics = surgery.statistics(dense, masks)
            log.info(self.log_place, self._statistics_line())
        if not self.schedule.operates(self.iteration, drawn):
            return None
        return self.schedule.bounds(self.statistics)

    def _statistics_line(self) -> str:
        assert self.statistics is not None
        counts = [(int(torch.count_nonzero(dense * mask)), dense.numel()) for dense, mask in self.masked().values()]
        counts.append((sum(kept for kept, _ in counts), sum(total for _, total in counts)))
        shares = " ".join(f"{kept}/{total}({log.number(kept / total)})" for kept, total in counts)
        mean, deviation = log.number(self.statistics.mean), log.number(self.statistics.deviation)
        return f"mu_:{mean} std_:{deviation} {shares}"

    @override
    def state(self) -> State:
        return {} if self.statistics is None else {**vars(self.statistics)}

    @override
    def restore(self, state: State) -> None:
        self.statistics = surgery.Statistics(**state) if state else None


class _Effective:
    """Computes the effective values of one blob, in memory that is reused when no graph refers to it any more.

    Allocating memory in each forward would take as long as computing the values.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = None
        self._given: weakref.ref[Tensor] | None = None

    def __call__(self, dense: Tensor, mask: Tensor, bounds: tuple[float, float] | None) -> Tensor:
        memory, values = self._take(dense), dense.detach()
        if bounds is None:
            fused.apply_mask(values, mask, memory)
        else:
            fused.operate(values, mask, memory, *bounds)
        given: Tensor = _StraightThrough.apply(dense, memory)  # type: ignore[no-untyped-call]
        self._given = weakref.ref(given)
        return given

    def _take(self, dense: Tensor) -> Tensor:
        memory = self._memory
        in_use = self._given is not None and self._given() is not None
        if memory is None or in_use or _layout(memory) != _layout(dense):
            memory = torch.empty_like(dense, requires_grad=False)
        if not dense.is_meta:
            self._memory = memory
        return memory


def _layout(tensor: Tensor) -> tuple[object, ...]:
    return tensor.device, tensor.dtype, tensor.stride()


class _StraightThrough(torch.autograd.Function):
    """Returns the effective values; their gradient goes unchanged to the dense values."""

    @staticmethod
    @override
    def forward(ctx: object, dense: Tensor, effective: Tensor) -> Tensor:
        # a view would share its base with every graph, and the memory would seem free while a graph still reads it
        return effective.detach()

    @staticmethod
    @override
    def backward(ctx: object, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


@LAYERS.register("DNSConvolution")
class DNSConvolution(SurgeryLayer, Convolution):
    """Convolution with surgery; its settings are ``dns_convolution_param``."""

    parameter = "dns_convolution_param"
    log_place = "dns_conv_layer.cpp:114"


@LAYERS.register("DNSInnerProduct")
class DNSInnerProduct(SurgeryLayer, InnerProduct):
    """InnerProduct with surgery; its settings are ``dns_inner_product_param``."""

    parameter = "dns_inner_product_param"
    log_place = "dns_inner_product_layer.cpp:165"


@LAYERS.register("CConvolution")
class CConvolution(DNSConvolution):
    """DNSConvolution under its original name, with the settings and defaults of Guo's ``cconvolution_param``."""

    parameter = "cconvolution_param"


@LAYERS.register("CInnerProduct")
class CInnerProduct(DNSInnerProduct):
    """DNSInnerProduct under its original name, with the settings and defaults of Guo's ``cinner_product_param``."""

    parameter = "cinner_product_param"
