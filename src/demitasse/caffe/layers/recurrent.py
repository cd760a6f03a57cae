"""LSTM and RNN over several streams of sequences, with a state that is kept from one forward to the next."""

from __future__ import annotations

import base64
import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from demitasse.caffe import schema
from demitasse.caffe.layers.base import LAYERS, Layer, Shape, State, require_shape
from demitasse.errors import NetError, SnapshotError


class Recurrent(Layer, ABC):
    """Base of LSTM and RNN.

    Bottoms: x (steps, streams, ...); cont (steps, streams), 0 where a sequence begins and 1 where it continues;
    an optional static input (streams, ...); with ``expose_hidden`` the parts of the initial state, each (1, streams,
    num_output). Tops: (steps, streams, num_output); with ``expose_hidden`` also the final state. As in Caffe, no
    gradient goes to the initial state or comes from the final state.

    Without ``expose_hidden``, a forward continues from the final state of the previous one. The first forward starts
    from zeros, and so does a forward with another number of streams.

    Blobs: weight (rows, inputs) and bias (rows,), static_weight (rows, static inputs) if there is a static input,
    hidden_weight (rows, num_output); rows is ``gates`` * num_output.

    Attributes:
        gates: the number of rows of the weights for each unit.
        parts: the names of the parts of the state.
    """

    gates: ClassVar[int] = 1
    parts: ClassVar[tuple[str, ...]] = ("hidden",)
    has_blobs = True
    without_gradient = (1,)
    weight: Tensor
    bias: Tensor
    static_weight: Tensor
    hidden_weight: Tensor

    def __init__(self, spec: schema.LayerParameter) -> None:
        super().__init__(spec)
        self.exposes = spec.recurrent_param.expose_hidden
        exposed = len(self.parts) if self.exposes else 0
        self.bottom_count = (2 + exposed, 3 + exposed)
        self.top_count = (1 + exposed, 1 + exposed)

    @override
    def setup(self, *shapes: Shape) -> None:
        settings = self.spec.recurrent_param
        if not settings.num_output:
            raise NetError(f"num_output is {settings.num_output}; expected a positive number")
        if len(shapes[0]) < 2:
            raise NetError(f"{self.spec.type} takes (steps, streams, ...), found a bottom of shape {list(shapes[0])}")
        self.units = settings.num_output
        self.has_static = len(shapes) == self.bottom_count[1]
        self._check(shapes)
        rows = self.gates * self.units
        self.add_blob("weight", (rows, math.prod(shapes[0][2:])), settings.weight_filler)
        self.add_blob("bias", (rows,), settings.bias_filler)
        if self.has_static:
            self.add_blob("static_weight", (rows, math.prod(shapes[2][1:])), settings.weight_filler)
        self.add_blob("hidden_weight", (rows, self.units), settings.weight_filler)
        if not self.exposes:
            for part in self.parts:
                self.register_buffer(part, torch.zeros(shapes[0][1], self.units), persistent=False)

    def _check(self, shapes: tuple[Shape, ...]) -> None:
        steps, streams = shapes[0][:2]
        require_shape(self, 1, shapes[1], (steps, streams))
        if self.has_static and shapes[2][:1] != (streams,):
            raise NetError(
                f"the static bottom {self.spec.bottom[2]!r} has shape {list(shapes[2])}; "
                f"expected {streams} streams on axis 0"
            )
        for index in range(2 + self.has_static, len(shapes)):
            require_shape(self, index, shapes[index], (1, streams, self.units))

    @override
    def forward(self, bottom: Tensor, going_on: Tensor, *rest: Tensor) -> Tensor | tuple[Tensor, ...]:
        inputs = F.linear(bottom.flatten(2), self.weight, self.bias)
        if self.has_static:
            inputs = inputs + F.linear(rest[0].flatten(1), self.static_weight)
        state = tuple(part[0].detach() for part in rest[self.has_static :])
        state = state or self._carried(bottom.shape[1])
        outputs = []
        for step, kept in zip(inputs.unbind(0), going_on.detach()[..., None].unbind(0), strict=True):
            state = self.step(step, kept, *state)
            outputs.append(state[0])
        top = self.read_out(torch.stack(outputs))
        if self.exposes:
            return top, *(part.detach()[None] for part in state)
        for name, part in zip(self.parts, state, strict=True):
            setattr(self, name, part.detach())
        return top

    def _carried(self, streams: int) -> tuple[Tensor, ...]:
        state = tuple(getattr(self, name) for name in self.parts)
        return state if state[0].shape[0] == streams else tuple(part.new_zeros(streams, self.units) for part in state)

    @abstractmethod
    def step(self, inputs: Tensor, kept: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Returns the state after one step; its first part is the output.

        Args:
            inputs: (streams, rows), the contribution of the bottoms.
            kept: (streams, 1), 0 where a sequence begins, else 1.
            state: the parts of the state before the step, (streams, num_output) each.
        """

    def read_out(self, hidden: Tensor) -> Tensor:
        """Returns the top for hidden states (steps, streams, num_output)."""
        return hidden

    @override
    def state(self) -> State:
        return {} if self.exposes else {name: to_plain(getattr(self, name)) for name in self.parts}

    @override
    def restore(self, state: State) -> None:
        """Restores the state; an empty state (a solverstate of Caffe) restarts from zeros."""
        for name in () if self.exposes else self.parts:
            part = getattr(self, name)
            setattr(self, name, restored(self, state, name).to(part) if state else torch.zeros_like(part))


def restored(layer: Layer, state: State, name: str) -> Tensor:
    """Returns a part of the state of a layer, (streams, units), from the plain values of a snapshot.

    Raises:
        SnapshotError: the values are corrupt, or belong to a layer of another size.
    """
    place, units = f"layer {layer.spec.name!r}: the state of {name!r}", getattr(layer, name).shape[1]
    try:
        found = _from_plain(state[name])
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{place} is corrupt: {error}") from error
    if found.ndim != 2 or found.shape[1] != units:
        raise SnapshotError(f"{place} has shape {list(found.shape)}; expected (streams, {units})")
    return found


def to_plain(tensor: Tensor) -> dict[str, object]:
    """Returns a tensor as plain values for JSON."""
    data = tensor.float().cpu().numpy().tobytes()
    return {"shape": list(tensor.shape), "data": base64.b64encode(data).decode()}


def _from_plain(plain: State) -> Tensor:
    values = np.frombuffer(base64.b64decode(plain["data"]), np.float32)
    return torch.from_numpy(values.reshape(plain["shape"]).copy())


@LAYERS.register("LSTM")
class LSTM(Recurrent):
    """Long short-term memory: c = f c + i g, h = o tanh(c).

    The rows of the weights are, in this order, the input gate i, forget gate f, output gate o (sigmoid) and g (tanh),
    each computed from x, the static input and h before the step. Where a sequence begins, c and h are taken as 0.

    Reference: Zaremba and Sutskever 2014, equations of section 2.1.
    """

    gates = 4
    parts = ("hidden", "cell")

    @override
    def step(self, inputs: Tensor, kept: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        hidden, cell = state
        return unit(inputs + F.linear(kept * hidden, self.hidden_weight), kept * cell)


def unit(rows: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Returns h and c of an LSTM, from the inputs of the gates i, f, o and g, (..., 4 units), and c before the step."""
    units = cell.shape[-1]
    enter, forget, leave = torch.sigmoid(rows[..., : 3 * units]).chunk(3, -1)
    cell = forget * cell + enter * torch.tanh(rows[..., 3 * units :])
    return leave * torch.tanh(cell), cell


@LAYERS.register("LSTMUnit")
class LSTMUnit(Layer):
    """One step of an LSTM, given the inputs of its gates; Caffe builds its LSTM from such layers.

    Bottoms: c before the step (1, streams, units); the inputs of the gates i, f, o and g (1, streams, 4 units); cont
    (1, streams), 0 where a sequence begins. Tops: c and h after the step, (1, streams, units).
    """

    bottom_count = (3, 3)
    top_count = (2, 2)
    without_gradient = (2,)

    @override
    def setup(self, *shapes: Shape) -> None:
        if len(shapes[0]) != 3 or shapes[0][0] != 1:
            raise NetError(f"c has shape {list(shapes[0])}; {self.spec.type} expects (1, streams, units)")
        _, streams, units = shapes[0]
        require_shape(self, 1, shapes[1], (1, streams, 4 * units))
        require_shape(self, 2, shapes[2], (1, streams))

    @override
    def forward(self, cell: Tensor, rows: Tensor, going_on: Tensor) -> tuple[Tensor, Tensor]:
        hidden, cell = unit(rows, going_on.detach()[..., None] * cell)
        return cell, hidden


@LAYERS.register("RNN")
class RNN(Recurrent):
    """h = tanh(weight x + static_weight s + hidden_weight h + bias); the top is tanh(output_weight h + output_bias).

    s is the static input, and h on the right is the state before the step.

    Further blobs: output_weight (num_output, num_output), output_bias (num_output,).
    """

    output_weight: Tensor
    output_bias: Tensor

    @override
    def setup(self, *shapes: Shape) -> None:
        super().setup(*shapes)
        settings = self.spec.recurrent_param
        self.add_blob("output_weight", (self.units, self.units), settings.weight_filler)
        self.add_blob("output_bias", (self.units,), settings.bias_filler)

    @override
    def step(self, inputs: Tensor, kept: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(inputs + F.linear(kept * state[0], self.hidden_weight)),)

    @override
    def read_out(self, hidden: Tensor) -> Tensor:
        return torch.tanh(F.linear(hidden, self.output_weight, self.output_bias))
