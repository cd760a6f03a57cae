"""Views of LSTM, GRU and RNN, and of their cells: inputs, and the hidden states that the layer computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from typing_extensions import override

from demitasse.methods.homes import Home
from demitasse.methods.one_shot.calls import Arguments, Named
from demitasse.methods.one_shot.sampling import EVERY, Sample
from demitasse.methods.one_shot.views import VIEWS, LinearView

# the mode of a module -> what makes a layer of that kind
_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN_TANH": nn.RNN,
    "RNN_RELU": partial(nn.RNN, nonlinearity="relu"),
}
_KINDS = ("ih", "hh", "hr")  # of the weights, in the order in which a step uses them
_WEIGHTS = tuple(f"weight_{kind}_l" for kind in _KINDS)
_CELLS = {"weight_ih": (0, "input"), "weight_hh": (1, "hx")}


@VIEWS.register("recurrent cell")
class CellView(LinearView):
    """A weight of a cell: the input, and the hidden state of the step before."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, nn.RNNCellBase) and home.role in _CELLS

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        number, name = _CELLS[self.home.role]
        state = arguments[number] if len(arguments) > number else named.get(name)
        found = state[0] if isinstance(state, tuple | list) else state  # of an LSTM, the cell state comes second
        if isinstance(found, Tensor):
            yield found.reshape(-1, found.shape[-1]).t().unsqueeze(0)

    @property
    @override
    def channel_axis(self) -> int | None:
        return None

    @property
    @override
    def bias(self) -> nn.Parameter | None:
        found = getattr(self.home.module, self.home.role.replace("weight", "bias"), None)
        return found if isinstance(found, nn.Parameter) else None


@VIEWS.register("recurrent")
class RecurrentView(LinearView):
    """A weight of any layer and direction: weight_ih_l0, weight_hh_l1_reverse, weight_hr_l0."""

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, nn.RNNBase) and home.role.startswith(_WEIGHTS)

    @property
    @override
    def channel_axis(self) -> int | None:
        return None

    @property
    @override
    def bias(self) -> nn.Parameter | None:
        found = getattr(self.home.module, self.home.role.replace("weight", "bias"), None)
        return found if isinstance(found, nn.Parameter) else None

    @property
    @override
    def turn(self) -> int:
        kind, number, _ = self._place()
        return len(_KINDS) * number + _KINDS.index(kind)

    def _place(self) -> tuple[str, int, bool]:
        """Returns ``ih``, ``hh`` or ``hr``, the number of the layer, and whether it runs backward."""
        kind, _, place = self.home.role.removeprefix("weight_").partition("_l")
        return kind, int(place.removesuffix("_reverse")), place.endswith("_reverse")

    @override
    def columns(self, arguments: Arguments, named: Named, sample: Sample = EVERY) -> Iterator[Tensor]:
        module = self.home.module
        assert isinstance(module, nn.RNNBase)
        inputs, lengths = _sequences(module, arguments[0] if arguments else named.get("input"))
        if inputs is None:
            return
        kind, number, backward = self._place()
        steps = torch.arange(len(inputs), device=inputs.device)[:, None]
        for before in range(number):
            inputs = torch.cat([_run(module, before, way, inputs, lengths) for way in _ways(module)], 2)
        if kind == "ih":
            found = inputs
        else:
            states = _run(module, number, backward, inputs, lengths)
            first = self._first(arguments, named, number, backward, states)
            if backward:  # a sequence begins at its own end
                found = torch.where((steps == lengths - 1).unsqueeze(2), first, torch.cat([states[1:], first]))
            else:
                found = torch.cat([first, states[:-1]])
            if kind == "hr":
                found = _unprojected(module, number, backward, inputs, found, lengths)
        yield found[steps < lengths].t().unsqueeze(0)

    def _first(self, arguments: Arguments, named: Named, number: int, backward: bool, states: Tensor) -> Tensor:
        """Returns the state before the first step, (1, n, size)."""
        module = self.home.module
        given = arguments[1] if len(arguments) > 1 else named.get("hx")
        given = given[0] if isinstance(given, tuple | list) else given
        if not isinstance(given, Tensor):
            return torch.zeros_like(states[:1])
        place = number * len(_ways(module)) + backward
        return given[place : place + 1] if given.ndim == 3 else given[place : place + 1, None]


def _ways(module: nn.Module) -> tuple[bool, ...]:
    return (False, True) if module.bidirectional else (False,)


def _sequences(module: nn.RNNBase, given: object) -> tuple[Tensor | None, Tensor]:
    """Returns inputs as (steps, n, size), and the length of each sequence."""
    if isinstance(given, PackedSequence):
        inputs, lengths = pad_packed_sequence(given)
        return inputs, lengths.to(inputs.device)
    if not isinstance(given, Tensor):
        return None, torch.zeros(0)
    inputs = given.unsqueeze(1) if given.ndim == 2 else given.transpose(0, 1) if module.batch_first else given
    return inputs, torch.full((inputs.shape[1],), len(inputs), device=inputs.device)


@torch.no_grad()
def _run(module: nn.RNNBase, number: int, backward: bool, inputs: Tensor, lengths: Tensor) -> Tensor:
    """Returns the hidden states of one layer in one direction, (steps, n, size), from a state of zeros."""
    own = {"proj_size": module.proj_size} if module.proj_size else {}
    # without values at first, since drawing some would change the state of torch's generator
    layer = _LAYERS[module.mode](inputs.shape[2], module.hidden_size, bias=module.bias, device="meta", **own)
    layer.to(dtype=inputs.dtype).to_empty(device=inputs.device)
    suffix = f"_l{number}{'_reverse' if backward else ''}"
    for name, parameter in layer.named_parameters():
        parameter.copy_(getattr(module, name.removesuffix("_l0") + suffix))
    turned = _turned(inputs, lengths) if backward else inputs
    states: Tensor = layer(turned)[0]
    return _turned(states, lengths) if backward else states


@torch.no_grad()
def _unprojected(
    module: nn.RNNBase, number: int, backward: bool, inputs: Tensor, states: Tensor, lengths: Tensor
) -> Tensor:
    """Returns what an LSTM with ``proj_size`` projects, (steps, n, hidden size), from cells of zeros.

    Args:
        module: the LSTM.
        number: number of the layer.
        backward: its direction.
        inputs: (steps, n, size).
        states: the projected hidden state before each step, (steps, n, size).
        lengths: of the sequences, (n,).

    Reference: Sak, Senior and Beaufays 2014 (arXiv 1402.1128), equations 7 to 12, without peepholes.
    """
    suffix = f"_l{number}{'_reverse' if backward else ''}"
    weights = [getattr(module, f"weight_{kind}{suffix}") for kind in ("ih", "hh")]
    gates = inputs @ weights[0].t() + states @ weights[1].t()
    if module.bias:
        gates = gates + getattr(module, f"bias_ih{suffix}") + getattr(module, f"bias_hh{suffix}")
    cell, found = gates.new_zeros(gates.shape[1], module.hidden_size), []
    for step in _turned(gates, lengths) if backward else gates:
        enter, forget, candidate, leave = step.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        found.append(leave.sigmoid() * cell.tanh())
    stacked = torch.stack(found)
    return _turned(stacked, lengths) if backward else stacked


def _turned(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Returns every sequence from its end to its begin; what is beyond its length stays."""
    steps = torch.arange(len(inputs), device=inputs.device)[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return inputs.gather(0, places.unsqueeze(2).expand_as(inputs))
