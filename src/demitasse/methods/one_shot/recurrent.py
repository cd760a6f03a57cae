"""Views of LSTM, GRU and RNN, and of their cells: inputs, and the hidden states that the layer computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from typing_extensions import override

from demitasse.methods.homes import Home
from demitasse.methods.one_shot.views import EVERY, VIEWS, Arguments, LinearView, Named, Sample

# the mode of a module -> what makes a layer of that kind
_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN_TANH": nn.RNN,
    "RNN_RELU": partial(nn.RNN, nonlinearity="relu"),
}
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
    def bias(self) -> nn.Parameter | None:
        found = getattr(self.home.module, self.home.role.replace("weight", "bias"), None)
        return found if isinstance(found, nn.Parameter) else None


@VIEWS.register("recurrent")
class RecurrentView(LinearView):
    """A weight of any layer and direction: weight_ih_l0, weight_hh_l1_reverse.

    The projections of an LSTM with ``proj_size`` have no view, since nothing shows their inputs.
    """

    @classmethod
    @override
    def matches(cls, home: Home) -> bool:
        return isinstance(home.module, nn.RNNBase) and home.role.startswith(("weight_ih_l", "weight_hh_l"))

    @property
    @override
    def bias(self) -> nn.Parameter | None:
        found = getattr(self.home.module, self.home.role.replace("weight", "bias"), None)
        return found if isinstance(found, nn.Parameter) else None

    @property
    @override
    def turn(self) -> int:
        kind, number, _ = self._place()
        return 2 * number + (kind == "hh")

    def _place(self) -> tuple[str, int, bool]:
        """Returns ``ih`` or ``hh``, the number of the layer, and whether it runs backward."""
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
        for before in range(number):
            inputs = torch.cat([_run(module, before, way, inputs, lengths) for way in _ways(module)], 2)
        if kind == "ih":
            found = inputs
        else:
            states = _run(module, number, backward, inputs, lengths)
            first = self._first(arguments, named, number, backward, states)
            found = torch.cat([states[1:], first] if backward else [first, states[:-1]])
        within = torch.arange(len(found), device=found.device)[:, None] < lengths
        yield found[within].t().unsqueeze(0)

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


def _turned(inputs: Tensor, lengths: Tensor) -> Tensor:
    """Returns every sequence from its end to its begin; what is beyond its length stays."""
    steps = torch.arange(len(inputs), device=inputs.device)[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return inputs.gather(0, places.unsqueeze(2).expand_as(inputs))
