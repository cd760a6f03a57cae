"""Lstm: the long short-term memory of CTPN's fork, whose blobs are in another order than those of Caffe's LSTM."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe.layers.base import LAYERS, Layer, Shape, State
from demitasse.caffe.layers.recurrent import restored, to_plain, unit
from demitasse.caffe.sizes import check_size
from demitasse.errors import NetError


@LAYERS.register("Lstm")
class Lstm(Layer):
    """Long short-term memory: c = f c + i g, h = o tanh(c); the gates are computed as in :class:`LSTM`.

    Bottoms: x (steps, streams, ...) and optionally cont, steps * streams values, 0 where a sequence begins. Without
    cont, every forward begins a sequence; with it, a forward continues from the final state of the previous one.
    Top: (steps, streams, num_output).

    Blobs: weight (4 num_output, inputs), hidden_weight (4 num_output, num_output), bias (4 num_output,); the rows are
    those of the gates i, f, o and g.

    ``clipping_threshold``, which limits gradients inside of the layer, has no effect; ``clip_gradients`` of a solver
    limits those of the net.

    Attributes:
        parts: the names of the parts of the state.
        carries: whether a forward with cont continues from the state of the previous one.

    Reference: Zaremba and Sutskever 2014, equations of section 2.1.
    """

    parts: ClassVar[tuple[str, ...]] = ("hidden", "cell")
    bottom_count = (1, 2)
    has_blobs = True
    weight: Tensor
    hidden_weight: Tensor
    bias: Tensor
    hidden: Tensor
    cell: Tensor
    carries = True

    @override
    def setup(self, *shapes: Shape) -> None:
        settings, shape = self.spec.lstm_param, shapes[0]
        self.units = settings.num_output
        self.without_gradient = (1,) if len(shapes) == 2 else ()
        if not self.units or len(shape) < 2:
            raise NetError(
                f"num_output is {self.units} and the bottom {list(shape)}; expected a positive number, and "
                "(steps, streams, ...)"
            )
        if len(shapes) == 2 and math.prod(shapes[1]) != shape[0] * shape[1]:
            raise NetError(f"cont has shape {list(shapes[1])}; expected {shape[0]} steps of {shape[1]} streams")
        rows = 4 * self.units
        self.add_blob("weight", (rows, math.prod(shape[2:])), settings.weight_filler)
        self.add_blob("hidden_weight", (rows, self.units), settings.weight_filler)
        self.add_blob("bias", (rows,), settings.bias_filler)
        check_size((shape[1], self.units), "the state")
        for part in self.parts:
            self.register_buffer(part, torch.zeros(shape[1], self.units), persistent=False)

    @override
    def forward(self, bottom: Tensor, *going_on: Tensor) -> Tensor:
        steps, streams = bottom.shape[:2]
        inputs = F.linear(bottom.flatten(2), self.weight, self.bias)
        kept = going_on[0].detach().reshape(steps, streams, 1).ne(0).to(inputs) if going_on else None
        hidden = cell = inputs.new_zeros(streams, self.units)
        if going_on and self.carries and self.hidden.shape[0] == streams:
            hidden, cell = self.hidden, self.cell
        outputs = []
        for step, row in enumerate(inputs.unbind(0)):
            if kept is not None:
                hidden, cell = hidden * kept[step], cell * kept[step]
            hidden, cell = unit(row + F.linear(hidden, self.hidden_weight), cell)
            outputs.append(hidden)
        if going_on and self.carries:
            self.hidden, self.cell = hidden.detach(), cell.detach()
        return torch.stack(outputs)

    @override
    def state(self) -> State:
        return {name: to_plain(getattr(self, name)) for name in self.parts}

    @override
    def restore(self, state: State) -> None:
        """Restores the state; an empty state restarts from zeros."""
        for name in self.parts:
            part = getattr(self, name)
            value = restored(self, state, name) if state else torch.zeros_like(part)
            setattr(self, name, value.to(part))
